"""The configuration: its defaults, its example, and every fault it can report."""

import os
import tomllib
from dataclasses import FrozenInstanceError, dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest
from support.credentials import cheap_hash

from proxy.config.addresses import split_address
from proxy.config.checks.names import doubted_answers, unused_pins
from proxy.config.config import MAAS_MIRRORS, Config
from proxy.config.errors import ConfigError
from proxy.config.keyrings import bundled_keyrings
from proxy.config.load import default_data_dir, find_config_file, load_config
from proxy.config.toml_reader import Fault, Faults, read, values
from proxy.documents.freshness import FreshnessPolicy
from proxy.mirror import Mirror, Trust
from proxy.sources.addresses import name_server_of
from proxy.web.access.gate import AccessOptions, User

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"
ENVIRON = {"HOME": "/home/someone"}
USER, ROOT = 1000, 0

MIRROR = '[[mirror]]\nname = "one"\nmount = "/one/"\norigins = ["https://one.example/"]\n'


def load(folder: Path, toml: str, **overrides: object) -> Config:
    """Load `toml` as the file config.toml of `folder`."""
    path = folder / "config.toml"
    path.write_text(toml, encoding="utf-8")
    return load_config(path, ENVIRON, overrides=overrides, uid=USER)


def faults(folder: Path, toml: str, **overrides: object) -> dict[str, str]:
    """Return the problems of `toml` by their key."""
    with pytest.raises(ConfigError) as caught:
        load(folder, toml, **overrides)
    return {fault.key: fault.problem for fault in caught.value.faults}


def mirror(**lines: str) -> str:
    """Return a [[mirror]] whose lines are TOML values."""
    usual = {"name": '"one"', "mount": '"/one/"', "origins": '["https://one.example/"]'}
    return "[[mirror]]\n" + "".join(f"{key} = {value}\n" for key, value in (usual | lines).items())


# Defaults and the example


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


def test_the_example_changes_nothing() -> None:
    """Copied as it is, the example file means the defaults."""
    assert load_config(EXAMPLE, ENVIRON, uid=USER) == load_config(None, ENVIRON, uid=USER)


def test_the_example_shows_every_key() -> None:
    """Every field stands there as a key; together with its loading as the defaults, with its default."""
    shown = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    flat = {
        key for key, _ in values(load_config(None, ENVIRON, uid=USER)) if not key.startswith("mirror[")
    } - {"prefetch", "user"}
    written = {key for key, value in shown.items() if not isinstance(value, dict | list) or key == "listen"}
    written |= {f"{name}.{key}" for name, table in shown.items() if isinstance(table, dict) for key in table}
    assert written | {"data_dir"} == flat
    assert shown["mirror"][0].keys() == {key for key, _ in values(MAAS_MIRRORS[0])}
    assert "\n# data_dir = " in EXAMPLE.read_text(encoding="utf-8")


def test_every_line_of_the_example_is_explained() -> None:
    """A comment stands right above every key."""
    lines = EXAMPLE.read_text(encoding="utf-8").split('name = "maas-candidate"')[0].splitlines()
    bare = [line for above, line in pairwise(lines) if " = " in line and "#" not in (line[0], above[:1])]
    assert bare == []


def test_the_examples_further_mirrors_work(tmp_path: Path) -> None:
    """The commented mirrors are right when their comment signs go."""
    commented = EXAMPLE.read_text(encoding="utf-8").split("# Further examples")[1]
    lines = commented.replace("/etc/sstream-proxy/private", f"{tmp_path}/private").splitlines()[1:]
    toml = "\n".join(
        line.removeprefix("# ") for line in lines if line.startswith(("# [[", "#   ", "# ]")) or " = " in line
    )
    (tmp_path / "private-keyring.gpg").touch()
    config = load(tmp_path, toml)
    names = ["lxc", "ubuntu-releases", "maas-with-failover", "maas-from-disk", "private"]
    assert [m.name for m in config.mirrors] == names
    assert config.mirrors[0].trust is Trust.TLS
    assert len(config.mirrors[2].origins) == 2


# What a file can say


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


# The command line


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


@pytest.mark.parametrize(
    ("toml", "overrides", "source"),
    [
        ("workers = 0", {}, "{file}"),
        ("", {"workers": 0}, "command line"),
        ("workers = 1", {"listen": ("here",)}, "command line"),
        ("feed.reserve = true", {"workers": "many"}, "{file} and command line"),
        ("feed.reserve = true", {"workers": "1"}, "{file}"),
    ],
)
def test_an_error_says_where_its_faults_are(
    tmp_path: Path, toml: str, overrides: dict[str, object], source: str
) -> None:
    """Whoever must correct something learns where."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, toml, **overrides)
    assert caught.value.source == source.format(file=tmp_path / "config.toml")


def test_without_a_file_faults_are_the_command_lines() -> None:
    """The text has source, key and remedy."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, ENVIRON, overrides={"workers": -1})
    assert str(caught.value) == "command line: workers: is too small: write at least 1"


# Faults

HASH = cheap_hash("secret")
USER_TABLE = f"access.users = ['maas']\n[[user]]\nname = 'maas'\npassword_hash = '{HASH}'\n"

FAULTS = [
    # Types, values and units
    ("offline = 'yes'", "offline", "write true or false, not the text 'yes'"),
    ("workers = true", "workers", 'write a whole number or "auto", not true'),
    ("workers = 'all'", "workers", 'write a whole number or "auto", not the text'),
    ("workers = 1.5", "workers", "not the number 1.5"),
    ("workers = 0", "workers", "write at least 1"),
    ("workers = -2", "workers", "write at least 1"),
    ("workers = 100000", "workers", "write at most 256"),
    ("upstream.connections = 0", "upstream.connections", "write at least 1"),
    ("upstream.connections_per_item = 0", "upstream.connections_per_item", "write at least 1"),
    ("upstream.connections_per_item = 17", "upstream.connections_per_item", "write at most 16"),
    ("upstream.connections = 1_000_000", "upstream.connections", "write at most 1024"),
    ("upstream.connect_timeout = 0", "upstream.connect_timeout", "is 0"),
    ("upstream.stall_timeout = '0s'", "upstream.stall_timeout", "write more"),
    ("upstream.stall_timeout = -1", "upstream.stall_timeout", 'write a time such as "300ms"'),
    ("upstream.stall_timeout = nan", "upstream.stall_timeout", "write a time"),
    ("upstream.give_up_after = inf", "upstream.give_up_after", "write a time"),
    ("upstream.give_up_after = '4000d'", "upstream.give_up_after", 'at most "3650d"'),
    ("freshness.fresh_for = '5 minutes'", "freshness.fresh_for", "write a time"),
    ("freshness.fresh_for = true", "freshness.fresh_for", "not true"),
    ("freshness.fresh_for = 1979-05-27", "freshness.fresh_for", "not a date"),
    ("upstream.limit = '50 mbit'", "upstream.limit", 'write a rate such as "6 MB"'),
    ("upstream.limit = '-1 MB'", "upstream.limit", '"50 Mbit/s", or "unlimited", not the text'),
    ("upstream.limit = -1", "upstream.limit", "not the number -1"),
    ("upstream.limit = 0", "upstream.limit", 'is too small: write at least "16 KiB"'),
    ("upstream.limit = 50", "upstream.limit", 'is too small: write at least "16 KiB"'),
    ("upstream.limit = 1.5", "upstream.limit", "not the number 1.5"),
    ("upstream.background_limit = 0", "upstream.background_limit", "is 0, which cannot work"),
    (mirror(limit='"fast"'), "mirror[0].limit", "not the text 'fast'"),
    (mirror(limit="1000"), "mirror[0].limit", "is too small"),
    ("freshness = { retry_after = '1m', retry_limit = '1s' }", "freshness.retry_limit", "at least as much"),
    ("clients.keepalive_timeout = 0", "clients.keepalive_timeout", "is 0"),
    ("feed.drip_interval = 0", "feed.drip_interval", "is 0"),
    ("feed.reserve = 'unlimited'", "feed.reserve", 'write a size such as "64 KiB"'),
    ("feed.reserve = -1", "feed.reserve", "write a size"),
    ("feed.reserve = 1.5", "feed.reserve", "write a size"),
    ("feed.reserve = 0x" + "f" * 9000, "feed.reserve", "not a number that large"),
    ("cache.limit = '200 gigs'", "cache.limit", "or \"unlimited\", not the text '200 gigs'"),
    ("cache.limit = 0", "cache.limit", 'at least "1 MiB"'),
    ("cache.limit = 200", "cache.limit", 'at least "1 MiB"'),
    ("upstream.document_limit = '1 B'", "upstream.document_limit", 'at least "1 MiB"'),
    ("log.level = 'loud'", "log.level", 'write "debug" or "info" or "warning" or "error"'),
    ("log.format = 1", "log.format", 'write "human" or "json", not the number 1'),
    ("cache = 5", "cache", "write a line [cache] with its keys below it"),
    ("data_dir = ''", "data_dir", "write a path in quotes"),
    ("data_dir = 'a\\u0000b'".replace("'", '"'), "data_dir", "write a path in quotes"),
    ("data_dir = 'config.toml'", "data_dir", "is no folder"),
    # Unknown keys
    ("cache.limits = 1", "cache.limits", 'did you mean "limit"?'),
    ("upstream.connect_timeout_s = 1", "upstream.connect_timeout_s", 'did you mean "connect_timeout"?'),
    ("[[mirrors]]", "mirrors", 'did you mean "mirror"?'),
    ("[log]\noffline = true", "log.offline", 'move "offline" to the top of the file'),
    ("zzz = 1", "zzz", "use one of listen, data_dir, workers"),
    ('"two\\nlines" = 1', "'two\\nlines'", "is no known key"),
    # Addresses
    ("listen = '0.0.0.0:8080'", "listen", "a list of texts in quotes and square brackets"),
    ("listen = []", "listen", "name at least one address"),
    ("listen = [8080]", "listen[0]", "write text in quotes, not the number 8080"),
    ("listen = ['0.0.0.0:80', 'localhost']", "listen[1]", "write HOST:PORT such as"),
    ("listen = [':8080']", "listen[0]", '"0.0.0.0:8080"'),
    ("listen = ['::1:8080']", "listen[0]", '"[::]:8080"'),
    ("listen = ['[::g]:8080']", "listen[0]", "write HOST:PORT"),
    ("listen = ['[10.0.0.1]:8080']", "listen[0]", "write HOST:PORT"),
    ("listen = ['10.0.0.256:8080']", "listen[0]", "write HOST:PORT"),
    ("listen = ['10.0.0.1:65536']", "listen[0]", "a port from 0 to 65535"),
    ("listen = ['10.0.0.1:-1']", "listen[0]", "a port from 0 to 65535"),
    ("listen = ['localhost:80', 'LOCALHOST:80']", "listen[1]", "remove one of them"),
    ("listen = ['[::]:80', '[0::0]:80']", "listen[1]", "remove one of them"),
    ("upstream.parent_proxy = 'proxy:3128'", "upstream.parent_proxy", "starts with http:// or https://"),
    ("upstream.parent_proxy = 'socks5://proxy'", "upstream.parent_proxy", "starts with http:// or https://"),
    ("upstream.no_proxy = ['http://mirror.lan']", "upstream.no_proxy[0]", "such as"),
    # TLS for clients
    ("tls.certificate = 'config.toml'", "tls.key", "name its file too, or remove tls.certificate"),
    ("tls.key = 'config.toml'", "tls.certificate", "name its file too, or remove tls.key"),
    ("tls = { certificate = 'no.pem', key = 'config.toml' }", "tls.certificate", "there is no file"),
    ("tls = { certificate = 'config.toml', key = 'no.pem' }", "tls.key", "correct the path"),
    (
        "tls.client_ca = 'config.toml'",
        "tls.client_ca",
        "needs tls.certificate and tls.key: plain HTTP shows no certificates",
    ),
    ("tls.check_every = 'now'", "tls.check_every", "write a time"),
    # Admins
    ("admin.listen = ['8081']", "admin.listen[0]", "write HOST:PORT such as"),
    ("admin.listen = ['0.0.0.0:8080']", "admin.listen[0]", "repeats '0.0.0.0:8080': remove one of them"),
    ("admin.listen = ['127.0.0.1:8080']", "admin.listen[0]", "overlaps with '0.0.0.0:8080'"),
    ("listen = ['[::1]:8080', '[::]:8080']", "listen[1]", "overlaps with '[::1]:8080'"),
    ("admin.token_sha256 = 'token'", "admin.token_sha256", "`sstream-proxy new-token`"),
    # Who may read mirrors
    ("access.allow = []", "access.allow", "nobody could read"),
    ("access.allow = ['10.0.0.0/33']", "access.allow[0]", 'write a network such as "10.0.0.0/8"'),
    ("access.allow = ['lan']", "access.allow[0]", "write a network such as"),
    ("access.allow = ['']", "access.allow[0]", "write a network such as"),
    ("access.allow = ['10.1.0.0/8']", "access.allow[0]", 'an address inside a network: write "10.0.0.0/8"'),
    ("access.allow = ['fd00::1/8']", "access.allow[0]", 'write "fd00::/8"'),
    ("access.allow = ['::ffff:10.0.0.0/104']", "access.allow[0]", "write it without ::ffff:"),
    ("access.allow = ['0.0.0.0/0', 5]", "access.allow[1]", "write text in quotes"),
    ("access.users = ['maas']", "access.users[0]", "is no [[user]]: add it as [[user]]"),
    (mirror(allow="[]"), "mirror[0].allow", "nobody could read"),
    (mirror(allow="['10.0.0.0/8', 'x']"), "mirror[0].allow[1]", "write a network such as"),
    (USER_TABLE + mirror(users="['lab']"), "mirror[0].users[0]", "is no [[user]]: write one of maas"),
    (USER_TABLE.replace("maas", "ma:as"), "user[0].name", "write a name of letters"),
    (USER_TABLE.replace("access.users = ['maas']", ""), "user[0].name", "nobody would be asked"),
    (USER_TABLE + USER_TABLE.partition("\n")[2], "user[1].name", "give each user their own name"),
    ("access.users = ['maas']\n[[user]]\nname = 'maas'", "user[0].password_hash", "is missing"),
    # Mirrors
    ("mirror = []", "mirror", "write at least one [[mirror]]"),
    ("[mirror]\nname = 'one'", "mirror", "write [[mirror]] on a line of its own"),
    ("mirror = ['one']", "mirror[0]", "write [[mirror]] on a line of its own"),
    (
        "[[mirror]]\nmount = '/x/'\norigins = ['https://x/']",
        "mirror[0].name",
        "is missing: write text in quotes",
    ),
    ("[[mirror]]\nname = 'x'\norigins = ['https://x/']", "mirror[0].mount", "is missing"),
    ("[[mirror]]\nname = 'x'\nmount = '/x/'", "mirror[0].origins", "is missing: write a list of texts"),
    (mirror(name="'Upper'"), "mirror[0].name", "small letters"),
    (mirror(name="''"), "mirror[0].name", "write a name of"),
    (mirror(name="'-x'"), "mirror[0].name", "a letter or digit first"),
    (mirror() + mirror(mount="'/two/'"), "mirror[1].name", "give each mirror its own name"),
    (mirror() + mirror(name="'two'", mount="'/one'"), "mirror[1].mount", "give each mirror its own"),
    (mirror() + mirror(name="'two'", mount="'/'"), "mirror[1].mount", 'write "/NAME/"'),
    (mirror(mount="''"), "mirror[0].mount", "begin it with a slash"),
    (mirror(mount="'one/'"), "mirror[0].mount", "begin it with a slash"),
    (mirror(mount="'/a//b/'"), "mirror[0].mount", "write single slashes"),
    (mirror(mount="'//'"), "mirror[0].mount", "write single slashes"),
    (mirror(mount="'/a/../b/'"), "mirror[0].mount", "write the path without them"),
    (mirror(mount="'/a/..'"), "mirror[0].mount", "write the path without them"),
    (mirror(mount="'/-'"), "mirror[0].mount", "choose another path"),
    (mirror(mount="'/-/images/'"), "mirror[0].mount", "choose another path"),
    (mirror(mount="'/a b/'"), "mirror[0].mount", "write only letters, digits"),
    (mirror(mount="'/a%2Fb/'"), "mirror[0].mount", "write only letters, digits"),
    (mirror(mount="'/a?b/'"), "mirror[0].mount", "write only letters, digits"),
    (mirror(origins="[]"), "mirror[0].origins", "name at least one base URL"),
    (mirror(origins="'https://x/'"), "mirror[0].origins", "square brackets"),
    (mirror(origins="['https://a/', 1]"), "mirror[0].origins[1]", "write text in quotes"),
    (mirror(origins="['images.maas.io']"), "mirror[0].origins[0]", "write an absolute URL"),
    (mirror(origins="['/images/']"), "mirror[0].origins[0]", "write an absolute URL"),
    (mirror(origins="['/images/']"), "mirror[0].origins[0]", 'a folder is written as "file:///srv/images/"'),
    (mirror(origins="['~/images']"), "mirror[0].origins[0]", 'a folder is written as "file:///srv/images/"'),
    (mirror(origins="['srv/a b/']"), "mirror[0].origins[0]", 'a folder is written as "file:///srv/images/"'),
    (mirror(origins="['file://srv/images/']"), "mirror[0].origins[0]", "with three slashes"),
    (mirror(origins="['file://user:pw@localhost/']"), "mirror[0].origins[0]", "with three slashes"),
    (mirror(origins="['file:images/']"), "mirror[0].origins[0]", "is no whole path"),
    (mirror(origins="['file:']"), "mirror[0].origins[0]", "is no whole path"),
    (mirror(origins="['file:///srv/a b/']"), "mirror[0].origins[0]", "write a space as %20"),
    (mirror(origins="['file:///srv/a?b/']"), "mirror[0].origins[0]", "write them as %3F and %23"),
    (mirror(origins="['file:///srv/100%/']"), "mirror[0].origins[0]", "write it as %25"),
    (mirror(origins="['file:///srv/a%2fb/']"), "mirror[0].origins[0]", "an escaped slash"),
    (mirror(origins="['file:///srv/a%00b/']"), "mirror[0].origins[0]", "zero byte"),
    (mirror(origins="['file:///srv/../etc/']"), "mirror[0].origins[0]", "write the path without them"),
    (mirror(origins="['file:///srv/%2e%2E/etc/']"), "mirror[0].origins[0]", "write the path without them"),
    (mirror(origins="['file:///srv/streams/v1/']"), "mirror[0].origins[0]", "give the base URL"),
    (
        mirror(origins="['file:///srv/images/']", trust="'tls'"),
        "mirror[0].origins[0]",
        "shows no certificate",
    ),
    (
        "data_dir = '/srv/data'\n" + mirror(origins="['https://x/', 'file:///srv/']"),
        "mirror[0].origins[1]",
        "holds data_dir, /srv/data",
    ),
    (
        "data_dir = '/srv/d%ta'\n" + mirror(origins="['file:///srv/d%25ta/tree/']"),
        "mirror[0].origins[0]",
        "lies inside data_dir",
    ),
    (
        "data_dir = '/srv/data/'\n" + mirror(origins="['FILE://localhost//srv//data']"),
        "mirror[0].origins[0]",
        "is the data_dir",
    ),
    (mirror(origins="['ftp://x/']"), "mirror[0].origins[0]", "http:// or https://"),
    (mirror(origins="['https:///x']"), "mirror[0].origins[0]", "write an absolute URL"),
    (mirror(origins="['https://x:port/']"), "mirror[0].origins[0]", "with a port from 1 to 65535"),
    (mirror(origins="['https://[::1/']"), "mirror[0].origins[0]", "host or port that cannot be"),
    (mirror(origins="['https://a b/']"), "mirror[0].origins[0]", "remove them"),
    (mirror(origins="['https://x/?token=1']"), "mirror[0].origins[0]", "without query and fragment"),
    (mirror(origins="['https://x/#top']"), "mirror[0].origins[0]", "without query and fragment"),
    (mirror(origins="['https://x/streams/v1/index.sjson']"), "mirror[0].origins[0]", "give the base URL"),
    (mirror(origins="['https://x/streams/v1/index.json']"), "mirror[0].origins[0]", "give the base URL"),
    (mirror(origins="['https://x/streams/v1/']"), "mirror[0].origins[0]", "give the base URL"),
    (mirror(origins="['http://x/']", trust="'tls'"), "mirror[0].origins[0]", "anyone on the way can change"),
    (mirror(origins="['http://10.0.0.1/']", trust="'tls'"), "mirror[0].origins[0]", "write https://"),
    (mirror(trust="'none'"), "mirror[0].trust", 'write "gpg" or "tls", not the text \'none\''),
    (mirror(trust="[]"), "mirror[0].trust", 'write "gpg" or "tls", not a list'),
    (mirror(keyring="'ubuntu'"), "mirror[0].keyring", 'write one of "ubuntu-cloudimage"'),
    (mirror(keyring="'absent.gpg'"), "mirror[0].keyring", "there is no readable file"),
    (mirror(keyring="'absent/keys'"), "mirror[0].keyring", "correct the path"),
    (
        mirror(redirect_hosts="['https://cdn/']"),
        "mirror[0].redirect_hosts[0]",
        "write only a host or host:port",
    ),
    (mirror(orgins="[]"), "mirror[0].orgins", 'did you mean "origins"?'),
]


@pytest.mark.parametrize(("toml", "key", "advice"), FAULTS)
def test_a_fault_names_its_key_and_the_remedy(tmp_path: Path, toml: str, key: str, advice: str) -> None:
    """Each mistake is one fault, at its key, with what to write instead."""
    found = faults(tmp_path, toml)
    assert list(found) == [key]
    assert advice in found[key]
    assert found[key].isprintable()


def test_all_faults_are_reported_at_once_one_a_line(tmp_path: Path) -> None:
    """Nobody has to correct a file one error at a time."""
    toml = """
        listen = ["here"]
        wrkers = 2
        [cache]
        limit = "lots"
        [[mirror]]
        name = "one"
        mount = "one"
        origins = ["images.maas.io", "https://x/?y"]
        keyring = "mine"
        [[mirror]]
        mount = "/-/x"
    """
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, toml, workers=0)
    assert {fault.key for fault in caught.value.faults} == {
        "listen[0]",
        "wrkers",
        "workers",
        "cache.limit",
        "mirror[0].mount",
        "mirror[0].origins[0]",
        "mirror[0].origins[1]",
        "mirror[0].keyring",
        "mirror[1].name",
        "mirror[1].mount",
        "mirror[1].origins",
    }
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.faults)
    assert all(line.startswith(f"{tmp_path}/config.toml and command line: ") for line in lines)


def test_a_fault_of_one_of_several_is_told_by_its_name(tmp_path: Path) -> None:
    """Nobody counts brackets from zero."""
    toml = mirror(name='"one"', mount='"/one/"') + mirror(name='"maas-v2"', origins='["ftp://x/"]')
    toml += mirror(name='"twin"', mount='"/a/"', trust='"no"') + mirror(name='"twin"', mount='"/b/"')
    toml += mirror(name='"Not Good"', mount='"/c/"', origins="[]")
    toml += '[[prefetch]]\nname = "lab"\nmirror = "one"\nschedule = "often"\n[[user]]\nname = "eve"\n'
    toml += 'password_hash = "x"\n[[user]]\nwrong = 1\n'

    with pytest.raises(ConfigError) as caught:
        load(tmp_path, toml)

    told = {line.split(": ", 1)[1] for line in str(caught.value).splitlines()}
    for place in (
        'mirror "maas-v2": origins[0]: ',
        "mirror number 3: trust: ",
        "mirror number 4: name: ",
        "mirror number 5: name: ",
        "mirror number 5: origins: ",
        'prefetch "lab": schedule: ',
        'user "eve": password_hash: ',
        "user number 2: wrong: ",
    ):
        assert any(line.startswith(place) for line in told), place
    assert not any("mirror[" in line or "prefetch[" in line or "user[" in line for line in told)


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


# The file itself


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"offline = true\nlimit = 200 GiB", "line 2, column"),
        (b"[cache\n", "look there for a missing quote, bracket or ="),
        (b"a = 1\na = 2", "no valid TOML"),
        (b"a = 1\xff", "save it as UTF-8"),
        (b"a = " + b"9" * 5000, "no valid TOML"),
    ],
)
def test_what_is_no_toml_is_told_with_its_place(tmp_path: Path, content: bytes, problem: str) -> None:
    """Syntax errors have line and column."""
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path, ENVIRON)
    assert caught.value.source == str(path)
    assert len(caught.value.faults) == 1
    assert problem in str(caught.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A folder, say, is no configuration file."""
    with pytest.raises(ConfigError, match="check its path and permissions"):
        load_config(tmp_path, ENVIRON)


def test_the_file_is_looked_for_in_order(tmp_path: Path) -> None:
    """The option wins over the variable, that over the system's file."""
    first, second, third = (tmp_path / name for name in ("option.toml", "variable.toml", "system.toml"))
    for path in (first, second, third):
        path.touch()
    environ = {"SSTREAM_PROXY_CONFIG": str(second)}
    assert find_config_file(first, environ, system=third) == first
    assert find_config_file(None, environ, system=third) == second
    assert find_config_file(None, {"SSTREAM_PROXY_CONFIG": ""}, system=third) == third
    assert find_config_file(None, {}, system=tmp_path / "absent.toml") is None


@pytest.mark.parametrize(
    ("option", "environ", "source"),
    [
        (Path("/absent.toml"), {}, "command line"),
        (None, {"SSTREAM_PROXY_CONFIG": "/absent.toml"}, "$SSTREAM_PROXY_CONFIG"),
    ],
)
def test_a_named_file_must_exist(option: Path | None, environ: dict[str, str], source: str) -> None:
    """A mistyped name never silently means the defaults."""
    with pytest.raises(ConfigError, match="there is no configuration file") as caught:
        find_config_file(option, environ)
    assert caught.value.source == source


@pytest.mark.parametrize(
    ("environ", "uid", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/private/x", "HOME": "/h"}, USER, "/var/lib/private/x"),
        ({"STATE_DIRECTORY": "/first:/second"}, ROOT, "/first"),
        ({"HOME": "/root", "XDG_DATA_HOME": "/data"}, ROOT, "/var/lib/sstream-proxy"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/data"}, USER, "/data/sstream-proxy"),
        ({"HOME": "/h", "XDG_DATA_HOME": "relative"}, USER, "/h/.local/share/sstream-proxy"),
        ({"HOME": "/h"}, USER, "/h/.local/share/sstream-proxy"),
        ({}, USER, "/var/lib/sstream-proxy"),
    ],
)
def test_the_default_data_folder(environ: dict[str, str], uid: int, expected: str) -> None:
    """It depends on systemd and on the user, not on the working directory."""
    assert default_data_dir(environ, uid) == Path(expected)
    assert load_config(None, environ, uid=uid).data_dir == Path(expected)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_keyring_is_a_fault(tmp_path: Path) -> None:
    """It would only fail later."""
    (tmp_path / "own.gpg").touch(mode=0)
    assert "no readable file" in faults(tmp_path, mirror(keyring='"own.gpg"'))["mirror[0].keyring"]


def test_split_address_tells_how_to_write_it() -> None:
    """Its error can be shown as it is."""
    with pytest.raises(ValueError, match="write HOST:PORT such as"):
        split_address("8080")


# The reader knows any dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    wait_s: float
    size_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    count: int
    parts: tuple[_Part, ...] = ()
    first: _Part = field(default_factory=lambda: _Part(wait_s=1.0, size_bytes=None))


def test_the_reader_needs_nothing_but_a_dataclass() -> None:
    """Fields without defaults, None and nested tables work for any type."""
    found = Faults()
    whole = read(_Whole, {"count": 2, "part": [{"wait": "1m", "size": "unlimited"}]}, found)
    assert found.found() == ()
    assert whole == _Whole(count=2, parts=(_Part(wait_s=60.0, size_bytes=None),))
    assert dict(values(whole)) == {
        "count": 2,
        "part[0].wait": 60.0,
        "part[0].size": None,
        "first.wait": 1.0,
        "first.size": None,
    }


def test_only_the_first_fault_of_a_key_counts() -> None:
    """What follows from a fault is not reported beside it."""
    found = Faults()
    for key in ("part", "part", "part[0]", "part[0].wait", "parts", "first.wait", "first"):
        found.add(key, "wrong")
    assert found.found() == tuple(Fault(key, "wrong") for key in ("part", "parts", "first.wait", "first"))


@pytest.mark.parametrize(
    "text", ["listen = " + "[" * 5000 + "]" * 5000, "a = " + "{a = " * 5000 + "1" + "}" * 5000]
)
def test_lists_and_tables_in_one_another_without_end_are_a_fault_and_no_crash(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_config(path, {})


# Names that mirrors answer to


def test_what_a_mirror_answers_to_is_read(tmp_path: Path) -> None:
    toml = mirror(answer_to='["origins", "http://images.example.org/stable"]')
    (one,) = load(tmp_path, toml).mirrors
    assert one.answered_urls == ("https://one.example/", "http://images.example.org/stable/")
    assert load(tmp_path, mirror(answer_to="[]")).mirrors[0].answered_urls == ()
    folder = load(tmp_path, mirror(origins='["file:///srv/x/", "HTTPS://one.example"]')).mirrors[0]
    assert folder.answered_urls == ("HTTPS://one.example/",)


@pytest.mark.parametrize(
    "entry",
    ["images.example.org", "Origins", "ftp://one.example/", "file:///srv/", "http://a:b@one.example/", "http://",
     "https://one.example/streams/v1/index.sjson", "http://one.example/?x", ""],
)  # fmt: skip
def test_what_no_mirror_can_answer_to_is_a_fault(tmp_path: Path, entry: str) -> None:
    assert faults(tmp_path, mirror(answer_to=f'["{entry}"]')).keys() == {"mirror[0].answer_to[0]"}


def test_two_mirrors_cannot_both_be_told_to_answer_to_one_url(tmp_path: Path) -> None:
    first = mirror(answer_to='["http://images.example.org/x/", "origins"]')
    second = mirror(
        name='"two"', mount='"/two/"', answer_to='["origins", "https://IMAGES.example.org:443//x"]'
    )
    found = faults(tmp_path, first + second)
    assert found == {
        "mirror[1].answer_to[1]": "'https://IMAGES.example.org:443//x' is \"one\"'s already: remove one"
    }


def test_two_mirrors_of_one_origin_are_told_of_and_the_first_answers(tmp_path: Path) -> None:
    """As a copy with a further origin beside the usual one: that has always been allowed."""
    second = mirror(
        name='"two"', mount='"/two/"', origins='["https://u:secret@two.example/", "http://one.example"]'
    )
    (said,) = doubted_answers(load(tmp_path, mirror() + second).mirrors)
    assert said.startswith('mirrors "one" and "two" have both http://one.example/: by that name the first')
    silent = second + "answer_to = []\n"
    assert list(doubted_answers(load(tmp_path, mirror() + silent).mirrors)) == []


def test_a_name_of_the_operators_pages_is_a_name_and_no_more(tmp_path: Path) -> None:
    assert load(tmp_path, '[admin]\nnames = ["cache.example.org", "cache"]').admin.names
    for name in ("http://cache.example.org", "cache.example.org:8080", "*.example.org", "", "a b"):
        assert faults(tmp_path, f'[admin]\nnames = ["{name}"]').keys() == {"admin.names[0]"}


# Addresses of names


def test_addresses_of_names_are_read(tmp_path: Path) -> None:
    toml = '[upstream.resolve]\n"images.maas.io" = ["192.0.2.7", "2001:db8::7"]\ncache = ["192.0.2.8"]\n'
    pinned = {"images.maas.io": ("192.0.2.7", "2001:db8::7"), "cache": ("192.0.2.8",)}
    assert load(tmp_path, toml).upstream.resolve == pinned
    assert load(tmp_path, "").upstream.resolve == {}


@pytest.mark.parametrize(
    ("resolve", "key"),
    [
        ('["192.0.2.7"]', "upstream.resolve"),
        ('"192.0.2.7"', "upstream.resolve"),
        ('{ "one.example" = "192.0.2.7" }', "upstream.resolve.'one.example'"),
        ('{ "one.example" = [7] }', "upstream.resolve.'one.example'[0]"),
        ('{ "one.example" = [] }', "upstream.resolve.'one.example'"),
        ('{ "one.example" = ["192.0.2.7:80"] }', "upstream.resolve.'one.example'[0]"),
        ('{ "one.example" = ["192.0.2.300"] }', "upstream.resolve.'one.example'[0]"),
        ('{ "one.example:80" = ["192.0.2.7"] }', "upstream.resolve.'one.example:80'"),
        ('{ "http://one.example/" = ["192.0.2.7"] }', "upstream.resolve.'http://one.example/'"),
        ('{ "192.0.2.8" = ["192.0.2.7"] }', "upstream.resolve.'192.0.2.8'"),
    ],
)
def test_what_is_no_address_of_a_name_is_a_fault(tmp_path: Path, resolve: str, key: str) -> None:
    assert faults(tmp_path, f"[upstream]\nresolve = {resolve}\n").keys() == {key}


def test_name_servers_are_read(tmp_path: Path) -> None:
    servers = ("9.9.9.9", "192.0.2.53:5353", "2620:fe::fe", "[2620:fe::fe]", "[2620:fe::fe]:5353")
    assert load(tmp_path, f"[upstream]\nresolver = {list(servers)}\n").upstream.resolver == servers
    assert load(tmp_path, "").upstream.resolver == ()
    assert [name_server_of(text) for text in servers] == [
        ("9.9.9.9", 53),
        ("192.0.2.53", 5353),
        ("2620:fe::fe", 53),
        ("2620:fe::fe", 53),
        ("2620:fe::fe", 5353),
    ]


@pytest.mark.parametrize(
    "server",
    [
        "",
        "dns.example.org",
        "localhost:53",
        "192.0.2.300",
        "192.0.2.53:",
        "192.0.2.53:0",
        "192.0.2.53:65536",
        "192.0.2.53:dns",
        "0.0.0.0",
        "224.0.0.251:5353",
        "[::]:53",
        "[2620:fe::fe",
        "udp://192.0.2.53",
    ],
)
def test_what_is_no_name_server_is_a_fault(tmp_path: Path, server: str) -> None:
    said = faults(tmp_path, f'[upstream]\nresolver = ["9.9.9.9", "{server}"]\n')
    assert said.keys() == {"upstream.resolver[1]"}
    assert '"192.0.2.53:5353"' in said["upstream.resolver[1]"]
    assert faults(tmp_path, f'[upstream]\nresolver = "{server}"\n').keys() == {"upstream.resolver"}


def test_that_a_parent_proxy_looks_names_up_itself_is_told() -> None:
    pinned = {"images.maas.io": ("192.0.2.7",)}
    parent = "http://proxy:3128"
    assert list(unused_pins(pinned, ("9.9.9.9",), "", ())) == list(unused_pins({}, (), parent, ())) == []
    assert list(unused_pins(pinned, ("9.9.9.9",), parent, ("images.maas.io",))) == []
    (said,) = unused_pins(pinned, (), parent, ())
    assert "upstream.resolve is" in said
    assert "parent_proxy looks up itself" in said
    (said,) = unused_pins({}, ("9.9.9.9",), parent, ())
    assert "upstream.resolver is" in said
    assert "parent_proxy looks up itself" in said
