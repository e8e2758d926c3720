"""What `check-config` says of a configuration: every fault, and what is odd or does nothing."""

from pathlib import Path

import pytest
from support.certificates import make_certificate
from support.commands import run_forked
from support.fixtures import UBUNTU_KEY
from support.keys import SigningKey

MIRROR = '[[mirror]]\nname = "{name}"\nmount = "/{name}/"\norigins = ["https://x/"]\nkeyring = "{keyring}"\n'


def test_check_config_names_every_fault_at_once_and_exits_with_2(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('listen = ["nowhere"]\nwrokers = 2\n[cache]\nlimit = "a lot"\n')

    result = run_forked("check-config", "--config", str(config))

    assert result.returncode == 2
    for key in ("listen[0]", "wrokers", "cache.limit"):
        assert key in result.stderr


def test_check_config_of_the_defaults_lists_the_maas_mirrors(tmp_path: Path) -> None:
    result = run_forked("check-config", env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})

    assert result.returncode == 0
    assert "/images/ephemeral-v3/stable/" in result.stdout


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it holds no OpenPGP public key"),
        (b"my keys\n", "it holds no OpenPGP public key"),
        (b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n", "a PGP SIGNATURE"),
        (b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "it holds a secret key"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME", "it is cut off"),
    ],
)
def test_check_config_looks_into_every_keyring(tmp_path: Path, content: bytes, why: str) -> None:
    """A file that is there is no keyring yet; a mirror is told by its name."""
    (tmp_path / "good.gpg").write_bytes(UBUNTU_KEY.read_bytes())
    (tmp_path / "bad.gpg").write_bytes(content)
    config = tmp_path / "config.toml"
    mirrors = [MIRROR.format(name=name, keyring=f"{name}.gpg") for name in ("good", "bad")]
    config.write_text(f'data_dir = "{tmp_path}/data"\n' + "".join(mirrors))

    result = run_forked("check-config", "--config", str(config))

    assert result.returncode == 2
    assert f'mirror "bad": keyring {tmp_path}/bad.gpg: ' in result.stderr
    assert why in result.stderr
    assert '"good"' not in result.stderr
    assert ": good, " not in result.stdout
    assert not (tmp_path / "data").exists()


def test_check_config_tells_what_is_odd_of_a_keyring(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "keys.gpg").write_bytes(key.public_armored() + UBUNTU_KEY.read_bytes() + key.public_binary())
    with SigningKey.expired() as expired:
        (tmp_path / "old.gpg").write_bytes(expired.public_binary() + key.public_binary())
    config = tmp_path / "config.toml"
    config.write_text(
        MIRROR.format(name="mixed", keyring="keys.gpg") + MIRROR.format(name="old", keyring="old.gpg")
    )

    result = run_forked("check-config", "--config", str(config))

    assert result.returncode == 0
    assert 'warning: mirror "mixed": keyring ' in result.stderr
    assert "made of an armored and a binary part: the keys of both are used" in result.stderr
    assert f"key {expired.fingerprint} has expired" in result.stderr


def test_check_config_tells_which_filters_no_item_passes_together(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        '[[prefetch]]\nname = "lab"\nmirror = "maas-stable"\n'
        'filters = ["version=24.04", "os=ubuntu", "version=22.04", "os!=ubuntu", "arch!=a", "arch!=b"]\n'
        '[[prefetch]]\nname = "good"\nmirror = "maas-stable"\nfilters = ["os=u", "os=u", "version~(22|24)"]\n'
    )

    result = run_forked("check-config", "--config", str(config))

    told = [line for line in result.stderr.splitlines() if "[[prefetch]]" in line]
    versions, names = (f"warning: [[prefetch]] lab: no item passes {one}" for one in ("'version", "'os"))
    assert result.returncode == 0
    assert len(told) == 2
    assert told[0].startswith(f"{versions}=24.04' and 'version=22.04': it must pass all filters; ")
    assert told[0].endswith(r"; 'version~^(24\.04|22\.04)$' was probably meant")
    assert told[1] == f"{names}=ubuntu' and 'os!=ubuntu': leave one of them out"


def test_check_config_finds_what_this_disk_and_clients_do_not_allow(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    data = tmp_path / "not" / "made" / "yet"
    config.write_text(f'data_dir = "{data}"\n[cache]\nmin_free = "900 TiB"\n')

    result = run_forked("check-config", "--config", str(config))

    assert result.returncode == 2
    assert "cache.min_free: is 900.0 TiB, and the whole disk that holds" in result.stderr
    assert not (tmp_path / "not").exists()

    config.write_text(
        '[upstream]\nstall_timeout = "12s"\nconnect_timeout = "20s"\n[feed]\ndrip_interval = "10s"\n'
    )
    result = run_forked("check-config", "--config", str(config))

    assert result.returncode == 0
    for key, wait in (
        ("upstream.stall_timeout", "12 s"),
        ("upstream.connect_timeout", "20 s"),
        ("feed.drip_interval", "10 s"),
    ):
        assert f"warning: {key} is {wait}, and MAAS gives up after 10 s" in result.stderr


def test_check_config_names_limits_that_change_nothing(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    mirror = '[[mirror]]\nname = "one"\nmount = "/one/"\norigins = ["https://one.example/"]\n'
    config.write_text(
        '[upstream]\nlimit = "8 Mbit/s"\nbackground_limit = "2 MiB"\n' + mirror + 'limit = "0.5 MB"\n'
    )
    result = run_forked("check-config", "--config", str(config))
    assert result.returncode == 0
    assert "upstream.background_limit is 2.0 MiB a second, and upstream.limit is 976.6 KiB" in result.stderr
    assert 'mirror "one": limit' not in result.stderr


def test_check_config_names_a_rules_limit_that_changes_nothing(tmp_path: Path) -> None:
    """Of those that hold besides it, the lowest is named."""
    config = tmp_path / "config.toml"
    mirror = '[[mirror]]\nname = "one"\nmount = "/one/"\norigins = ["https://one.example/"]\n'
    rule = '[[prefetch]]\nname = "{}"\nmirror = "one"\nlimit = "{}"\n'
    config.write_text(
        '[upstream]\nlimit = "4 MiB"\nbackground_limit = "2 MiB"\n'
        + mirror + rule.format("fast", "3 MiB") + rule.format("slow", "1 MiB")
    )  # fmt: skip
    result = run_forked("check-config", "--config", str(config))
    assert result.returncode == 0
    assert (
        'warning: prefetch "fast": limit is 3.0 MiB a second, and upstream.background_limit is 2.0 MiB, '
        "which holds: write less, or remove the line"
    ) in result.stderr.splitlines()
    assert 'prefetch "slow": limit' not in result.stderr


def test_check_config_reads_the_certificate(tmp_path: Path) -> None:
    config, key = tmp_path / "config.toml", tmp_path / "server.key"
    make_certificate(tmp_path)
    config.write_text('[tls]\ncertificate = "server.crt"\nkey = "server.key"\n')
    key.write_text("half a key")

    result = run_forked("check-config", "--config", str(config))

    assert result.returncode == 2
    assert f"[tls] key: {key} holds no private key" in result.stderr
