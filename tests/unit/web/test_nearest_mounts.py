"""Which mirrors are meant by a path at which none is mounted."""

import pytest

from proxy.mirror import Mirror
from proxy.web.nearest_mounts import nearest

MIRRORS = [
    Mirror(name=name, mount=mount, origins=("https://images.maas.io/",))
    for name, mount in (
        ("stable", "/images/ephemeral-v3/stable/"),
        ("candidate", "/images/ephemeral-v3/candidate/"),
        ("nested", "/images/ephemeral-v3/stable/nested/"),
        ("Lab", "/lxc/"),
    )
]


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/lxc", ["Lab"]),
        ("/images/ephemeral-v3/stable", ["stable"]),
        ("/images/ephemeral-v3/stablestreams/v1/index.sjson", ["stable"]),  # As MAAS up to 3.7 asks first.
        ("/images/ephemeral-v3/STABLE/nested/streams/v1/index.sjson", ["nested"]),
        ("/LXC/streams/v1/index.json", ["Lab"]),
        ("//LXC//", ["Lab"]),
        ("/images%2Fephemeral-v3%2fstable/", ["stable"]),
        ("/images", ["stable", "candidate", "nested"]),
        ("/images/", ["stable", "candidate", "nested"]),
        ("/Images/ephemeral-v3", ["stable", "candidate", "nested"]),
        ("/lab/streams/v1/index.json", ["Lab"]),
        ("/images/ephemeral-v3/stabel/streams/v1/index.sjson", ["stable"]),
        ("/lcx/streams/v1/index.json", ["Lab"]),
        ("/imag", []),
        ("/favicon.ico", []),
        ("*", []),
        ("/%00", []),
    ],
)
def test_the_surest_likeness_counts(path: str, meant: list[str]) -> None:
    assert [one.name for one in nearest(path, MIRRORS)] == meant


def test_of_no_mirrors_none_is_meant() -> None:
    assert nearest("/lxc", []) == []
