"""What MAAS asks for when somebody selects releases and architectures in it.

MAAS downloads, of the newest version of every product of a selected release and
architecture, the files it boots and installs from; and with any selection all
boot loaders (canonical/maas, src/maasservicelayer/simplestreams, August 2026).
"""

from collections.abc import Iterable

from proxy.simplestreams.select import Condition, Fields

_BOOT_FILES = frozenset({"boot-kernel", "boot-initrd", "squashfs", "root-image.gz", "root-tgz"})
_BOOT_LOADER_FILE = "archive.tar.xz"
_BOOT_LOADERS = frozenset(
    {("pxe", "i386"), ("uefi", "amd64"), ("uefi", "arm64"), ("open-firmware", "ppc64el")}
)

NEWEST_VERSIONS = 1
"""MAAS uses the newest version of a product only."""


def maas_condition(releases: Iterable[str], arches: Iterable[str]) -> Condition:
    """Return the condition for a selection such as noble and jammy on amd64.

    A release is a code name or a version ("noble", "24.04", "centos70"); no
    arches means all.
    """
    wanted_releases = {release.lower() for release in releases}
    wanted_arches = {arch.lower() for arch in arches}

    def is_wanted(fields: Fields) -> bool:
        ftype, arch = fields.get("ftype"), fields.get("arch", "")
        if "bootloader-type" in fields:
            return ftype == _BOOT_LOADER_FILE and (fields["bootloader-type"], arch) in _BOOT_LOADERS
        return (
            ftype in _BOOT_FILES
            and (not wanted_arches or arch in wanted_arches)
            and not wanted_releases.isdisjoint({fields.get("release", ""), fields.get("version", "")})
        )

    return is_wanted
