"""Secrets of a configuration: no error and no traceback shows them."""

from pathlib import Path

import pytest
from support.config_files import HASH, USER_TABLE, load, mirror

from proxy.config.errors import ConfigError

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://user:{SECRET}@x/",
        f"user:{SECRET}@x:3128",
        f"{SECRET}@x:3128",
        f"https://user:{SECRET}@x:port/",
        f"https://user:{SECRET}/@x/",
        f"https://user:{SECRET}@[x/",
        f"https://user:a@{SECRET}@x/?q",
        f"https://user:{SECRET} @x/",
        f"/https://user:{SECRET}@x/",
        f"https://user:{SECRET}@x/streams/v1/index.json",
        f"http://user:{SECRET}@x/",
    ],
)
def test_credentials_never_appear_in_errors(tmp_path: Path, url: str) -> None:
    """A URL with a password shows none of it, wherever it was put."""
    toml = f'"{url}" = 1\nlisten = ["{url}"]\ndata_dir = "{url}"\n'
    toml += f'[upstream]\nparent_proxy = "{url}"\nconnections = "{url}"\n[tls]\nkey = "{url}"\n'
    toml += f'[feed]\nreserve = "{url}"\ndrip_interval = "{url}"\n[log]\nlevel = "{url}"\n'
    values = dict.fromkeys(("name", "mount", "trust"), f'"{url}"')
    toml += mirror(**values, origins=f'["{url}"]', redirect_hosts=f'["{url}"]')
    toml += mirror(name='"two"', mount='"/two/"', trust='"tls"', origins=f'["{url}"]')
    toml += mirror(name='"three"', mount='"/three/"', origins=f'"{url}"', keyring=f'"{url}"')
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, toml)
    assert len(caught.value.faults) > 8
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("admin.token_sha256", "'hunter2'"),
        ("admin.token_sha256", "7734252"),
        ("admin.token_sha256", "['hunter2']"),
        ("upstream.parent_proxy", "7734252"),
        ("user", "[{ name = 'maas', password_hash = 'hunter2' }]"),
        ("user", "[{ name = 'maas', password_hash = 7734252 }]"),
        ("user", "[{ name = 'maas', password_hash = '$scrypt$ln=14,r=8,p=5$hunter2hunter2$7734252' }]"),
    ],
)
def test_a_secret_that_cannot_be_one_is_not_told(tmp_path: Path, key: str, value: str) -> None:
    """Somebody may have written the secret itself in place of its hash."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"access.users = ['maas']\n{key} = {value}\n")
    for secret in (SECRET, "7734252"):
        assert secret not in str(caught.value) + repr(caught.value)


def test_a_configuration_does_not_show_its_secrets(tmp_path: Path) -> None:
    """In a traceback, say."""
    toml = f"{USER_TABLE}[admin]\ntoken_sha256 = '{'ab' * 32}'\n"
    toml += f"[upstream]\nparent_proxy = 'http://user:{SECRET}@proxy:3128'\n"
    shown = repr(load(tmp_path, toml + mirror(origins=f"['https://user:{SECRET}@x/']")))
    for secret in (HASH, "ab" * 32, SECRET):
        assert secret not in shown
