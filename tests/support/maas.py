"""A mirror tree shaped like the stable stream of images.maas.io, at a fraction of its size."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.keys import SigningKey
from support.tree import MAAS_CONTENT_ID, SignedTree

BOOTLOADER_CONTENT_ID = "com.ubuntu.maas:stable:1:bootloader-download"
CENTOS_CONTENT_ID = "com.ubuntu.maas:stable:centos-bases-download"

# The releases' real data, by version; code name, title and the sizes are those of summer 2025.
_SERIES = {
    "20.04": ("focal", "Focal Fossa", "2025-05-29", "2030-04-21"),
    "22.04": ("jammy", "Jammy Jellyfish", "2027-04-21", "2032-04-21"),
    "24.04": ("noble", "Noble Numbat", "2029-05-31", "2034-04-25"),
}
_SIZE_BYTES = {
    "boot-initrd": 78_320_319,
    "boot-kernel": 15_010_184,
    "manifest": 18_932,
    "squashfs": 271_732_736,
    "root-tgz": 542_967_263,
    "archive.tar.xz": 1_228_336,
}
# Operating system, type, architecture, the architectures served, source packages.
_BOOTLOADERS = (
    ("grub-efi-signed", "uefi", "amd64", "amd64", ("grub2-signed", "shim-signed")),
    ("grub-efi", "uefi", "arm64", "arm64", ("grub2-signed", "shim-signed")),
    ("pxelinux", "pxe", "i386", "i386", ("syslinux",)),
)
_FIRST_SERIAL = datetime(2025, 6, 18, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Boot:
    """A release for an architecture."""

    release: str
    arch: str
    serials: tuple[str, ...]


def maas_tree(
    root: Path,
    key: SigningKey | None,
    *,
    releases: Sequence[str] = ("24.04",),
    arches: Sequence[str] = ("amd64",),
    versions: int = 2,
    scale: float = 1 / 1000,
) -> SignedTree:
    """Build and publish a tree; `scale` is the fraction of the real sizes (1/1000: some 2 MB in all).

    The kernels ga and hwe of a release and architecture share one squashfs and manifest.
    """
    tree = SignedTree(root, key)
    serials = tuple((_FIRST_SERIAL + timedelta(days=21 * n)).strftime("%Y%m%d") for n in range(versions))
    for release in releases:
        for arch in arches:
            for kernel in ("ga", "hwe"):
                _add_boot(tree, _Boot(release, arch, serials), f"{kernel}-{release}", scale)
    _add_bootloaders(tree, [f"{serial}.0" for serial in serials], scale)
    _add_centos(tree, [f"{serial}_01" for serial in serials], scale)
    tree.publish()
    return tree


def _add_boot(tree: SignedTree, boot: _Boot, subarch: str, scale: float) -> None:
    series, codename, eol, esm_eol = _SERIES[boot.release]
    kpackage = "linux-generic" if subarch.startswith("ga-") else f"linux-generic-{subarch}"
    product = f"com.ubuntu.maas.stable:v3:boot:{boot.release}:{boot.arch}:{subarch}"
    tree.product(
        product,
        MAAS_CONTENT_ID,
        arch=boot.arch,
        kflavor="generic",
        krel=series,
        label="stable",
        os="ubuntu",
        release=series,
        release_codename=codename,
        release_title=f"{boot.release} LTS",
        subarch=subarch,
        subarches=f"generic,ga-20.04,ga-22.04,{subarch}",
        support_eol=eol,
        support_esm_eol=esm_eol,
        version=boot.release,
    )
    for serial in boot.serials:
        folder = f"{series}/{boot.arch}/{serial}"
        for name in ("boot-initrd", "boot-kernel"):
            path = f"{folder}/{subarch}/generic/{name}"
            tree.add_item(product, serial, name, path=path, size=_size(name, scale), kpackage=kpackage)
        for name, file in (("manifest", "squashfs.manifest"), ("squashfs", "squashfs")):
            tree.add_item(product, serial, name, path=f"{folder}/{file}", size=_size(name, scale))


def _add_bootloaders(tree: SignedTree, serials: Sequence[str], scale: float) -> None:
    for system, kind, arch, arches, packages in _BOOTLOADERS:
        product = f"com.ubuntu.maas.stable:1:{system}:{kind}:{arch}"
        attributes = {
            "arch": arch,
            "arches": arches,
            "bootloader-type": kind,
            "label": "stable",
            "os": system,
        }
        tree.product(product, BOOTLOADER_CONTENT_ID, **attributes)
        for serial in serials:
            for package in packages:
                tree.add_item(
                    product,
                    serial,
                    package,
                    path=f"bootloaders/{kind}/{arch}/{serial}/{package}.tar.xz",
                    size=_size("archive.tar.xz", scale),
                    content_id=BOOTLOADER_CONTENT_ID,
                    ftype="archive.tar.xz",
                    src_package=package,
                    src_release="jammy",
                    src_version="1.187.6+2.06-2ubuntu14.4",
                )


def _add_centos(tree: SignedTree, serials: Sequence[str], scale: float) -> None:
    product = "com.ubuntu.maas.stable:centos-bases:8:amd64"
    tree.product(
        product,
        CENTOS_CONTENT_ID,
        arch="amd64",
        label="stable",
        os="centos",
        release="8",
        release_title="CentOS 8",
        subarch="generic",
        subarches="generic",
        support_eol="2029-05-31",
        version="8",
    )
    for serial in serials:
        for name, file in (("manifest", "root-tgz.manifest"), ("root-tgz", "root-tgz")):
            path = f"centos/8/amd64/{serial}/{file}"
            size = _size(name, scale)
            tree.add_item(product, serial, name, path=path, size=size, content_id=CENTOS_CONTENT_ID)


def _size(kind: str, scale: float) -> int:
    return max(1, round(_SIZE_BYTES[kind] * scale))
