"""What a configuration says: its defaults, and what a file and a command line put in their place."""

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from support.config_files import ENVIRON, HASH, USER, USER_TABLE, load, mirror

from proxy.config.config import MAAS_MIRRORS, Config
from proxy.config.keyrings import bundled_keyrings
from proxy.config.load import load_config
from proxy.documents.freshness import FreshnessPolicy
from proxy.mirror import Mirror, Trust
from proxy.web.access.gate import AccessOptions, User


def test_without_a_file_the_maas_mirrors_are_served() -> None:
    """Nothing needs to be configured to serve MAAS from its usual paths."""
    config = load_config(None, ENVIRON, uid=USER)
    assert config == Config(data_dir=Path("/home/someone/.local/share/sstream-proxy"))
    assert config.mirrors == MAAS_MIRRORS
    assert [(m.name, m.mount, m.origins) for m in MAAS_MIRRORS] == [
        ("maas-stable", "/images/ephemeral-v3/stable/", ("https://images.maas.io/ephemeral-v3/stable/",)),
        (
            "maas-candidate",
            "/images/ephemeral-v3/candidate/",
            ("https://images.maas.io/ephemeral-v3/candidate/",),
        ),
        ("maas-v2-daily", "/images/ephemeral-v2/daily/", ("https://images.maas.io/ephemeral-v2/daily/",)),
        (
            "maas-v2-releases",
            "/images/ephemeral-v2/releases/",
            ("https://images.maas.io/ephemeral-v2/releases/",),
        ),
    ]


def test_the_configuration_is_frozen() -> None:
    """No part can change the options of another."""
    config = load_config(None, ENVIRON, uid=USER)
    with pytest.raises(FrozenInstanceError):
        config.offline = True  # type: ignore[misc]


def test_values_are_read_by_unit_and_type(tmp_path: Path) -> None:
    """Times, sizes, paths, texts and tables arrive as the fields' types."""
    (tmp_path / "server.pem").touch()
    (tmp_path / "server.key").touch()
    config = load(
        tmp_path,
        """
        listen = ["127.0.0.1:0", "[::1]:8080", "Localhost:80"]
        data_dir = "data"
        workers = 3
        offline = true
        tls = { certificate = "server.pem", key = "~/server.key" }
        cache = { limit = "200 GiB", min_free = 0 }
        freshness = { fresh_for = "1h30m", hold_back = "0s" }
        upstream = { connect_timeout = 2.5, connections = 1, parent_proxy = "http://user:pass@proxy:3128" }
        feed.reserve = "0 B"
        log = { level = "debug", format = "json" }
        """.replace("~", str(tmp_path)),
    )
    assert config.addresses == (("127.0.0.1", 0), ("::1", 8080), ("localhost", 80))
    assert config.data_dir == tmp_path / "data"
    assert config.worker_count() == 3
    assert config.offline
    assert (config.tls.certificate, config.tls.key) == (tmp_path / "server.pem", tmp_path / "server.key")
    assert (config.cache.limit_bytes, config.cache.min_free_bytes) == (200 * 1024**3, 0)
    assert config.freshness == replace(FreshnessPolicy(), fresh_for_s=5400.0, hold_back_s=0.0)
    assert config.upstream.connect_timeout_s == 2.5
    assert config.feed.reserve_bytes == 0
    assert (config.log.level, config.log.format) == ("debug", "json")
    assert config.mirrors == MAAS_MIRRORS


def test_names_at_which_it_listens_are_known(tmp_path: Path) -> None:
    text = 'listen = ["Cache.example.org:8080", "[::1]:80"]\n[admin]\nlisten = ["admin.example.org:81"]\n'
    names = load(tmp_path, text).listening_names
    assert names == {"cache.example.org", "::1", "admin.example.org"}


def test_who_may_read_is_read(tmp_path: Path) -> None:
    toml = USER_TABLE.replace("access.users = ['maas']\n", "") + mirror(
        users="['maas']", allow="['fd00::/8']"
    )
    config = load(tmp_path, "[access]\nallow = ['10.0.0.0/8', '::1', '192.0.2.7']\n" + toml)
    assert config.access == AccessOptions(allow=("10.0.0.0/8", "::1", "192.0.2.7"))
    assert config.users == (User(name="maas", password_hash=HASH),)
    assert (config.mirrors[0].users, config.mirrors[0].allow) == (("maas",), ("fd00::/8",))


def test_mirrors_of_the_file_replace_the_defaults(tmp_path: Path) -> None:
    """Only the file's mirrors are left, with slashes and paths completed."""
    (tmp_path / "own.asc").touch()
    config = load(
        tmp_path,
        mirror(keyring='"own.asc"', origins='["http://a:8080/x", "https://b/y/"]')
        + mirror(
            name='"two"', mount='"/one/below"', trust='"tls"', redirect_hosts='["cdn:9000", "[fd00::1]"]'
        ),
    )
    assert config.mirrors == (
        Mirror(
            name="one",
            mount="/one/",
            origins=("http://a:8080/x/", "https://b/y/"),
            keyring=str(tmp_path / "own.asc"),
        ),
        Mirror(
            name="two",
            mount="/one/below/",
            origins=("https://one.example/",),
            trust=Trust.TLS,
            redirect_hosts=("cdn:9000", "[fd00::1]"),
        ),
    )


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:80"])
def test_plain_http_from_this_machine_may_be_trusted(tmp_path: Path, host: str) -> None:
    """Nobody sits between two ends of the loopback."""
    config = load(tmp_path, mirror(trust='"tls"', origins=f'["http://{host}/"]'))
    assert config.mirrors[0].trust is Trust.TLS


def test_a_single_mirror_may_be_mounted_at_the_root(tmp_path: Path) -> None:
    """A lone mirror can have all paths."""
    assert load(tmp_path, mirror(mount='"/"')).mirrors[0].mount == "/"


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """Files from Windows editors work."""
    assert load(tmp_path, "\ufeffoffline = true").offline


def test_home_is_understood_in_paths(tmp_path: Path) -> None:
    """A leading ~ is the home folder, not a folder of that name."""
    assert load(tmp_path, 'data_dir = "~/images"').data_dir == Path("/home/someone/images")


def test_auto_workers_are_one_per_cpu_up_to_four() -> None:
    """Automatic is never none and never many."""
    config = load_config(None, ENVIRON, uid=USER)
    assert [config.worker_count(cpus) for cpus in (1, 3, 4, 64)] == [1, 3, 4, 4]
    assert 1 <= config.worker_count() <= 4


def test_a_keyring_is_bundled() -> None:
    """The default keyring comes with the package."""
    assert "ubuntu-cloudimage" in bundled_keyrings()


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    """Its values win, even over faults, and its paths start where the user stands."""
    toml = 'listen = ["nonsense"]\ndata_dir = "/a"\nworkers = 2\noffline = true'
    config = load(tmp_path, toml, listen=("[::]:1", "[::]:2"), data_dir=Path("b"), workers="7", offline=False)
    assert config.addresses == (("::", 1), ("::", 2))
    assert config.data_dir == Path.cwd() / "b"
    assert (config.workers, config.offline) == (7, False)


def test_options_that_were_not_given_override_nothing(tmp_path: Path) -> None:
    """None and the empty tuple leave the file's values."""
    config = load(
        tmp_path, "workers = 2\noffline = true", listen=(), data_dir=None, workers=None, offline=None
    )
    assert config == replace(load_config(None, ENVIRON, uid=USER), workers=2, offline=True)
