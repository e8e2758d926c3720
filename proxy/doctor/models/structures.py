"""The structures that LXD, Incus and Juju read documents into. Pure."""

from proxy.doctor.models.fields import ListOf, MapOf, Type

_ENTRY: dict[str, Type] = {
    "datatype": str,
    "path": str,
    "updated": str,
    "products": ListOf(str),
    "format": str,
}
INDEX: Type = {"index": MapOf(_ENTRY), "updated": str, "format": str}
JUJU_INDEX: Type = {
    "index": MapOf(
        {
            **_ENTRY,
            "cloudname": str,
            "clouds": ListOf({"region": str, "endpoint": str}),
        }
    ),
    "updated": str,
    "format": str,
}
_ITEM: Type = {
    "ftype": str,
    "md5": str,
    "path": str,
    "sha256": str,
    "size": int,
    "delta_base": str,
    "combined_disk1-img_sha256": str,
    "combined_disk-kvm-img_sha256": str,
    "combined_uefi1-img_sha256": str,
    "combined_rootxz_sha256": str,
    "combined_sha256": str,
    "combined_squashfs_sha256": str,
}
IMAGES: Type = {
    "content_id": str,
    "datatype": str,
    "format": str,
    "license": str,
    "updated": str,
    "products": MapOf(
        {
            "aliases": str,
            "arch": str,
            "os": str,
            "lxd_requirements": MapOf(str),
            "requirements": MapOf(str),
            "release": str,
            "release_codename": str,
            "release_title": str,
            "supported": bool,
            "support_eol": str,
            "version": str,
            "variant": str,
            "versions": MapOf({"items": MapOf(_ITEM), "label": str, "pubname": str}),
        }
    ),
}
_WHERE: dict[str, Type] = {"arch": str, "release": str, "version": str, "region": str, "endpoint": str}
JUJU: Type = {
    "updated": str,
    "format": str,
    "products": MapOf({**_WHERE, "versions": MapOf({**_WHERE, "items": MapOf({})})}),
}
