"""Faults of a configuration: each at its key, with the remedy, and all at once."""

import os
from pathlib import Path

import pytest
from support.config_files import ENVIRON, USER_TABLE, faults, load, mirror

from proxy.config.errors import ConfigError
from proxy.config.load import load_config

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
    ("upstream.background_transfers = 0", "upstream.background_transfers", "write at least 1"),
    ("upstream.background_transfers = -1", "upstream.background_transfers", "write at least 1"),
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
    ("cache.limit = '200 gigs'", "cache.limit", "less than 1 EiB, or \"unlimited\", not the text '200 gigs'"),
    ("cache.limit = 0", "cache.limit", 'at least "1 MiB"'),
    ("cache.limit = 200", "cache.limit", 'at least "1 MiB"'),
    ("upstream.document_limit = '1 B'", "upstream.document_limit", 'at least "1 MiB"'),
    ("log.level = 'loud'", "log.level", 'write "debug" or "info" or "warning" or "error"'),
    ("log.format = 1", "log.format", 'write "human" or "json", not the number 1'),
    ("cache = 5", "cache", "write a line [cache] with its keys below it"),
    ("data_dir = ''", "data_dir", "write a path in quotes"),
    ("data_dir = 'a\\u0000b'".replace("'", '"'), "data_dir", "write a path in quotes"),
    ("data_dir = 'config.toml'", "data_dir", "is no folder"),
    ("data_dir = 'config.toml/below/it'", "data_dir", "is no folder: name one, or a path"),
    # Unknown keys
    ("cache.limits = 1", "cache.limits", 'did you mean "limit"?'),
    ("upstream.connect_timeout_s = 1", "upstream.connect_timeout_s", 'did you mean "connect_timeout"?'),
    ("[[mirrors]]", "mirrors", 'did you mean "mirror"?'),
    ("[log]\noffline = true", "log.offline", 'move "offline" to the top of the file'),
    (mirror(offline="true"), "mirror[0].offline", 'does not belong in [[mirror]]: move "offline"'),
    (mirror(upstream="['https://x/']"), "mirror[0].upstream", "or use one of name, mount, origins"),
    (mirror(cache="'1 GiB'"), "mirror[0].cache", "write a line [cache] with its keys below it"),
    ("[cache.log]\nlevel = 'info'", "cache.log", "no key of [cache]: write a line [log] with its keys"),
    ("[access]\nprefetch = 'lab'", "access.prefetch", "write [[prefetch]] on a line of its own, once"),
    ("upstream.proxy = 'http://x/'", "upstream.proxy", 'did you mean "parent_proxy" or "no_proxy"?'),
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
    (mirror(keyring="'mine'"), "mirror[0].keyring", 'the path of a keyring file, such as "./mine"'),
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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_keyring_is_a_fault(tmp_path: Path) -> None:
    """It would only fail later."""
    (tmp_path / "own.gpg").touch(mode=0)
    assert "no readable file" in faults(tmp_path, mirror(keyring='"own.gpg"'))["mirror[0].keyring"]
