"""Addresses of folders: how they may be written."""

from pathlib import Path

import pytest

from proxy.sources.addresses import folder_of, is_folder


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file:///srv/images/", b"/srv/images"),
        ("file:///srv/images", b"/srv/images"),
        ("file:/srv/images/", b"/srv/images"),
        ("file:////srv//images//", b"/srv/images"),
        ("FILE:///Srv/images/", b"/Srv/images"),
        ("file://localhost/srv/images/", b"/srv/images"),
        ("file://LocalHost/srv/images/", b"/srv/images"),
        ("file:///srv/a%20b%25%3F%23/", b"/srv/a b%?#"),
        ("file:///srv/\u00fc/", b"/srv/\xc3\xbc"),
        ("file:///srv/%FF/", b"/srv/\xff"),
        ("file:///", b"/"),
    ],
)
def test_a_folder_is_written_as_a_url(url: str, folder: bytes) -> None:
    assert is_folder(url)
    assert bytes(folder_of(url)) == folder
    assert isinstance(folder_of(url), Path)
