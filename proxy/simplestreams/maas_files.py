"""Which files of a products list MAAS downloads, by what is said of them. Pure.

canonical/maas, src/maasservicelayer/simplestreams, August 2026.
"""

BOOT_FILES = frozenset({"boot-kernel", "boot-initrd", "squashfs", "root-image.gz", "root-tgz"})
BOOT_LOADER_FILE = "archive.tar.xz"
BOOT_LOADERS = frozenset(
    {("pxe", "i386"), ("uefi", "amd64"), ("uefi", "arm64"), ("open-firmware", "ppc64el")}
)
MAAS_ALONE = BOOT_FILES - {"squashfs"}
"""Types of files that only lists for MAAS have."""


def is_for_maas(ftype: str, boot_loader_type: str | None, arch: str) -> bool:
    """Whether MAAS downloads a file, of the newest version, when what it belongs to is selected."""
    if boot_loader_type is not None:
        return ftype == BOOT_LOADER_FILE and (boot_loader_type, arch) in BOOT_LOADERS
    return ftype in BOOT_FILES
