"""Which mirror a request target belongs to, by mount or, for users of a plain proxy, by origin."""

import socket
from dataclasses import replace

import pytest

from proxy.mirror import Mirror
from proxy.web.mounts import Mounts, Place

STABLE = Mirror(
    name="stable",
    mount="/images/stable/",
    origins=("https://images.maas.io/ephemeral-v3/stable/", "http://backup.example:8000/maas/"),
)
NESTED = Mirror(
    name="nested",
    mount="/images/stable/nested/",
    origins=("https://images.maas.io/ephemeral-v3/stable/nested/",),
)
ROOT = Mirror(name="root", mount="/", origins=("https://cloud-images.ubuntu.com/",))
HERE = ("192.0.2.7", 8080)
INDEX = "streams/v1/index.sjson"


def locate(
    target: str, *mirrors: Mirror, at: tuple[str, int] | None = HERE, host: str = ""
) -> tuple[str, str] | None:
    """Return the mirror's name and the rest of the target."""
    place = Mounts(mirrors or (STABLE, NESTED)).place(target, at, host)
    assert not place.is_foreign
    return None if place.mirror is None else (place.mirror.name, place.url_path)


def is_foreign(target: str, *mirrors: Mirror, at: tuple[str, int] | None = HERE) -> bool:
    """Say whether a target is another server's, and no mirror's."""
    place = Mounts(mirrors or (STABLE, NESTED)).place(target, at)
    assert not (place.is_foreign and (place.mirror or place.is_ours))
    return place.is_foreign


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (f"/images/stable/{INDEX}", ("stable", INDEX)),
        ("/images/stable/", ("stable", "")),
        ("/images/stable/a%3Ab%2F..%2Fc", ("stable", "a%3Ab%2F..%2Fc")),
        ("/images/stable/../secret", ("stable", "../secret")),
        ("/images/stable//a", ("stable", "a")),
        ("/images/stable/./a//b/", ("stable", "a/b/")),
        ("/images/stable/a/.", ("stable", "a/")),
        ("/images/stable//../secret", ("stable", "../secret")),
        ("//images/./stable///a", ("stable", "a")),
        (f"/images/stable/{INDEX}?v=1", ("stable", INDEX)),
        (f"/images/stable/nested/{INDEX}", ("nested", INDEX)),
        ("/images/stable/nested", ("stable", "nested")),
        # what clients ask for beside a mount, such as MAAS for a source without a slash
        (f"/images/stable{INDEX}", None),
        ("/images/stable", None),
        (f"/images/{INDEX}", None),
        ("/", None),
        ("/IMAGES/STABLE/", None),
        ("//images/stable/", ("stable", "")),
        ("//-/images/stable/a", None),
        ("/images%2Fstable/", None),
    ],
)
def test_a_path_belongs_to_the_mirror_that_is_mounted_above_it(
    target: str, found: tuple[str, str] | None
) -> None:
    """The rest stays as it was written; the longest mount wins, in whatever order they are configured."""
    assert locate(target, STABLE, NESTED) == locate(target, NESTED, STABLE) == found


def test_a_mirror_at_the_root_takes_what_no_other_does() -> None:
    assert locate(f"/{INDEX}", ROOT, STABLE) == ("root", INDEX)
    assert locate(f"/images/stable/{INDEX}", ROOT, STABLE) == ("stable", INDEX)


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (f"http://images.maas.io/ephemeral-v3/stable/{INDEX}", ("stable", INDEX)),
        (f"https://images.maas.io/ephemeral-v3/stable/{INDEX}", ("stable", INDEX)),
        (f"http://images.maas.io:80/ephemeral-v3/stable/{INDEX}", ("stable", INDEX)),
        (f"http://images.maas.io:443/ephemeral-v3/stable/{INDEX}", ("stable", INDEX)),
        (f"HTTP://Images.MAAS.io/ephemeral-v3/stable/{INDEX}", ("stable", INDEX)),
        (f"http://user:secret@images.maas.io/ephemeral-v3/stable/{INDEX}", ("stable", INDEX)),
        (f"http://images.maas.io/ephemeral-v3/stable/{INDEX}?v=1", ("stable", INDEX)),
        (f"http://images.maas.io/ephemeral-v3/stable/nested/{INDEX}", ("nested", INDEX)),
        (f"http://backup.example:8000/maas/{INDEX}", ("stable", INDEX)),
        ("http://images.maas.io/ephemeral-v3/stable/", ("stable", "")),
        # the proxy itself
        (f"http://192.0.2.7:8080/images/stable/{INDEX}", ("stable", INDEX)),
        (f"http://localhost:8080/images/stable/{INDEX}", ("stable", INDEX)),
        (f"http://{socket.gethostname()}:8080/images/stable/{INDEX}", ("stable", INDEX)),
        (f"http://LOCALHOST.:8080/images/stable/{INDEX}", ("stable", INDEX)),
        (f"http://{socket.gethostname()}.:8080/images/stable/{INDEX}", ("stable", INDEX)),
        (f"http://[::1]:8080//images/stable//{INDEX}", ("stable", INDEX)),
        ("http://localhost:8080/elsewhere", None),
        ("http://127.0.0.1:8080/", None),
        # the proxy by names that it cannot know: what a load balancer or a port map makes of it
        (f"http://cache.example/images/stable/{INDEX}", ("stable", INDEX)),
        (f"https://CACHE.example.:8443/images/stable/{INDEX}?v=1", ("stable", INDEX)),
        (f"http://[2001:db8::7]/images/stable/{INDEX}", ("stable", INDEX)),
        (f"http://[::1]:9000/images/stable/{INDEX}", ("stable", INDEX)),
        (f"http://maas:secret@cache.example/images/stable/nested/{INDEX}", ("nested", INDEX)),
        ("http://localhost:8081/images/stable/a", ("stable", "a")),
        ("http://127.0.0.1/images/stable/../a", ("stable", "../a")),
        ("http://localhost:8080", None),
    ],
)
def test_an_absolute_target_belongs_to_the_mirror_of_its_origin(
    target: str, found: tuple[str, str] | None
) -> None:
    """Clients of a plain proxy ask by http for what is configured as https."""
    assert locate(target) == found


@pytest.mark.parametrize(
    "target",
    [
        "http://elsewhere.example/ephemeral-v3/stable/streams/v1/index.sjson",
        "http://images.maas.io.evil.example/ephemeral-v3/stable/a",
        "http://images.maas.io@evil.example/ephemeral-v3/stable/a",
        "http://images.maas.io:8080/ephemeral-v3/stable/a",
        "http://backup.example/maas/a",
        "http://cache.example/",
        "http://cache.example/images/stable",
        "http://cache.example/images/other/a",
        "http://cache.example/-/stats",
        "http://localhost:8081/-/stats",
        "http://localhost:8081/",
        "http:///images/stable/a",
        "http:/images/stable/a",
        "ftp://cache.example/images/stable/a",
        "cache.example/images/stable/a",
        "http://cache.example:port/images/stable/a",
        "http://[::1/images/stable/a",
        "http://images.maas.io:port/ephemeral-v3/stable/a",
        "http://[::1/ephemeral-v3/stable/a",
        "http:///ephemeral-v3/stable/a",
        "file:///etc/passwd",
        "images.maas.io:443",
        "*",
        "",
    ],
)
def test_nothing_else_is_proxied(target: str) -> None:
    assert is_foreign(target)


def test_a_path_beside_an_origins_tree_belongs_to_nobody() -> None:
    """MAAS up to 3.7, behind this as its proxy and with a source without a slash, asks so first."""
    assert locate(f"http://images.maas.io/ephemeral-v3/stable{INDEX}") is None


def test_an_origins_own_url_is_never_taken_for_the_path_of_a_mount() -> None:
    """Not even if some mirror is mounted at the same path."""
    at_its_path = Mirror(name="other", mount="/ephemeral-v3/stable/", origins=("https://other.example/x/",))
    assert locate("http://images.maas.io/ephemeral-v3/stable/a", STABLE, at_its_path) == ("stable", "a")
    assert locate("http://cache.example/ephemeral-v3/stable/a", STABLE, at_its_path) == ("other", "a")
    assert locate("http://other.example/ephemeral-v3/stable/a", STABLE, at_its_path) is None


def test_a_mirror_at_the_root_is_found_by_names_that_are_certain() -> None:
    """All servers' paths lie below it."""
    for host in ("localhost", "LOCALHOST:9000", "[::1]:80", "192.0.2.7:81", f"{socket.gethostname()}."):
        assert locate(f"http://{host}/{INDEX}", ROOT) == ("root", INDEX)
    for host in ("elsewhere.example", "192.0.2.8:8080", "localhost.example"):
        assert is_foreign(f"http://{host}/{INDEX}", ROOT)


def test_without_a_known_address_only_origins_and_mounts_are_recognised() -> None:
    assert locate(f"http://images.maas.io/ephemeral-v3/stable/{INDEX}", at=None) == ("stable", INDEX)
    assert is_foreign("http://localhost:8080/", at=None)
    assert locate("http://localhost:8080/images/stable/a", at=None) == ("stable", "a")


def test_the_proxys_address_may_be_of_the_new_protocol() -> None:
    assert locate(f"http://[::1]:8080/images/stable/{INDEX}", at=("::1", 8080)) == ("stable", INDEX)


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
def test_the_proxy_recognises_itself_on_a_default_port(scheme: str, port: int) -> None:
    for written in ("localhost", f"localhost:{port}"):
        target = f"{scheme}://{written}/images/stable/{INDEX}"
        assert locate(target, at=("192.0.2.7", port)) == ("stable", INDEX)


def test_two_origins_on_one_host_are_told_apart_by_path() -> None:
    daily = Mirror(name="daily", mount="/daily/", origins=("https://images.maas.io/ephemeral-v3/daily/",))
    assert locate("http://images.maas.io/ephemeral-v3/daily/a", STABLE, daily) == ("daily", "a")
    assert locate("http://images.maas.io/ephemeral-v3/stable/a", STABLE, daily) == ("stable", "a")


def test_what_is_located_is_the_mirror_itself() -> None:
    assert Mounts([STABLE]).place("/images/stable/a", None) == Place(STABLE, "a")


def test_a_folder_that_is_an_origin_is_no_place_to_ask_a_proxy_for() -> None:
    """It has no host, and neither have targets of no known form."""
    disk = Mirror(name="disk", mount="/disk/", origins=("file:///srv/images/",))
    for target in (f"file:///srv/images/{INDEX}", f"nonsense:/srv/images/{INDEX}", "file:///etc/passwd"):
        assert is_foreign(target, disk)
    assert locate(f"/disk/{INDEX}", disk) == ("disk", INDEX)


# Names that lead here


@pytest.mark.parametrize(
    "host",
    [
        "images.maas.io",
        "images.maas.io:80",
        "images.maas.io:443",
        "IMAGES.Maas.IO",
        "images.maas.io.",
        "images.maas.io.:80",
        "images.maas.io:",  # An empty port is the default one (RFC 3986 section 3.2.3).
        " images.maas.io ",
    ],
)
def test_a_path_of_an_origin_is_the_mirrors_under_the_origins_name(host: str) -> None:
    """What a name server that gives our address for it brings here. The longest path wins."""
    assert locate(f"/ephemeral-v3/stable/{INDEX}", host=host) == ("stable", INDEX)
    assert locate(f"/ephemeral-v3//stable/./{INDEX}?v=1", host=host) == ("stable", INDEX)
    assert locate(f"/ephemeral-v3/stable/nested/{INDEX}", host=host) == ("nested", INDEX)
    assert locate(f"/ephemeral-v3/stable/nested/{INDEX}", NESTED, STABLE, host=host) == ("nested", INDEX)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "images.maas.io:8080",
        "images.maas.io:http",
        "images.maas.io:99999",
        "user@images.maas.io",
        "images.maas.io/",
        "images.maas.io, images.maas.io",
        "images.maas.io evil.test",
        "http://images.maas.io",
        "[images.maas.io]",
        "xn--images.maas.io",
        "images.maas.io..",
        "backup.example",
        "evil.example",
        "192.0.2.7:8080",
        "[::1]",
        "\xff\udcff",
    ],
)
def test_under_any_other_name_it_is_nobodys_and_mounts_are_found_as_ever(host: str) -> None:
    assert locate(f"/ephemeral-v3/stable/{INDEX}", host=host) is None
    if not host.startswith("images.maas.io:"):
        assert locate(f"/images/stable/{INDEX}", host=host) == ("stable", INDEX)


def test_a_port_belongs_to_the_name() -> None:
    assert locate(f"/maas/{INDEX}", host="backup.example:8000") == ("stable", INDEX)
    for host in ("backup.example", "backup.example:80", "backup.example:8001"):
        assert locate(f"/maas/{INDEX}", host=host) is None


@pytest.mark.parametrize(
    "path", ["/", f"/ephemeral-v3/stable{INDEX}", f"/{INDEX}", "/-/", "/-/stats", "//-/x"]
)
def test_what_an_origin_has_beside_its_tree_is_nobodys_under_its_name(path: str) -> None:
    """Not our pages either: they are not that server's. Nor what lies below a mount, as in a URL."""
    mounts = Mounts([STABLE, NESTED])
    for target in (path, f"/images/stable/{INDEX}"):
        place = mounts.place(target, HERE, "images.maas.io")
        assert (place.mirror, place.is_ours, place.is_foreign) == (None, False, False)


def test_our_pages_are_nobodys_under_an_origins_name_at_any_port() -> None:
    for path in ("/-/stats", "/%2d/stats"):
        assert not Mounts([STABLE]).place(path, HERE, "images.maas.io:8080").is_ours
    assert Mounts([STABLE]).place("/-/stats", HERE, "cache.example:8080").is_ours


def test_a_mirror_answers_to_what_it_is_told_to() -> None:
    """A folder has no name; others may be called differently inside a site."""
    disk = Mirror(
        name="disk",
        mount="/disk/",
        origins=("file:///srv/images/",),
        answer_to=("http://images.maas.io/ephemeral-v3/stable/", "https://mirror.example:8443/x/"),
    )
    assert locate(f"/ephemeral-v3/stable/{INDEX}", disk, host="images.maas.io") == ("disk", INDEX)
    assert locate(f"/x/{INDEX}", disk, host="mirror.example:8443") == ("disk", INDEX)
    assert locate(f"http://mirror.example:8443/x/{INDEX}", disk) == ("disk", INDEX)
    assert locate(f"/x/{INDEX}", disk, host="mirror.example") is None


def test_a_mirror_that_answers_to_no_name_is_still_found_by_its_origins_urls() -> None:
    silent = replace(STABLE, answer_to=())
    assert locate(f"/ephemeral-v3/stable/{INDEX}", silent, host="images.maas.io") is None
    assert locate(f"/images/stable/{INDEX}", silent, host="images.maas.io") == ("stable", INDEX)
    assert locate(f"http://images.maas.io/ephemeral-v3/stable/{INDEX}", silent) == ("stable", INDEX)


def test_of_two_mirrors_with_one_url_the_first_answers() -> None:
    twin = replace(STABLE, name="twin", mount="/twin/")
    assert locate(f"/ephemeral-v3/stable/{INDEX}", STABLE, twin, host="images.maas.io") == ("stable", INDEX)
    assert locate(f"/ephemeral-v3/stable/{INDEX}", twin, STABLE, host="images.maas.io") == ("twin", INDEX)


def test_an_origin_on_this_machine_takes_no_path_away_from_us() -> None:
    """Its name is ours too: mounts and pages come first there."""
    own = Mirror(name="own", mount="/own/", origins=("http://localhost/",))
    assert locate(f"/own/{INDEX}", own, host="localhost") == ("own", INDEX)
    assert locate(f"/{INDEX}", own, host="localhost") == ("own", INDEX)
    assert Mounts([own]).place("/-/stats", HERE, "localhost").is_ours


def test_our_pages_stay_where_a_mirror_answers_to_the_root_of_our_own_name() -> None:
    """Who asks by a name that is certainly ours wants our pages, and our mounts."""
    for name in ("192.0.2.7", "localhost", socket.gethostname()):
        own = replace(STABLE, answer_to=(f"http://{name}:8080/",))
        mounts, host = Mounts((own, NESTED)), f"{name}:8080"
        assert mounts.place("/-/stats", HERE, host) == Place()
        assert mounts.place(f"/images/stable/nested/{INDEX}", HERE, host).mirror == NESTED
        assert mounts.place(f"/{INDEX}", HERE, host) == Place(own, INDEX)


def test_a_mirror_at_the_root_leaves_other_servers_paths_alone() -> None:
    """Everything lies below "/", and an old MAAS needs its 404 at once."""
    both = replace(ROOT, origins=("https://images.maas.io/ephemeral-v3/stable/",))
    assert locate(f"/ephemeral-v3/stable/{INDEX}", both, host="images.maas.io") == ("root", INDEX)
    assert locate(f"/ephemeral-v3/stable{INDEX}", both, host="images.maas.io") is None
    assert locate(f"/{INDEX}", both, host="cache.example") == ("root", INDEX)


@pytest.mark.parametrize("host", ["b\xfccher.example", "B\xdcCHER.example.", "xn--bcher-kva.example"])
@pytest.mark.parametrize("origin", ["https://b\xfccher.example/x/", "https://xn--bcher-kva.example/x/"])
def test_letters_beyond_ascii_are_the_same_in_both_ways_to_write_them(host: str, origin: str) -> None:
    books = Mirror(name="books", mount="/books/", origins=(origin,))
    assert locate("/x/a", books, host=host) == ("books", "a")
    assert locate(f"http://{host}/x/a", books) == ("books", "a")


@pytest.mark.parametrize(
    ("origin", "asked"),
    [
        ("http://mirror.example/%7Eann/", ["/%7Eann/", "/~ann/", "//%7Eann//"]),
        ("http://mirror.example/b\xfccher%2fx/", ["/b%C3%BCcher%2Fx/"]),
        ("http://mirror.example/b%c3%bccher/", ["/b%C3%BCcher/", "/b%c3%bccher/"]),
        ("http://mirror.example/boot%20images/", ["/boot%20images/"]),
    ],
)
def test_a_path_is_found_as_configured_and_in_its_normal_form(origin: str, asked: list[str]) -> None:
    """Some clients rewrite the URLs that they are given, as aiohttp and requests do, curl and Go do not."""
    mirror = Mirror(name="m", mount="/m/", origins=(origin,))
    for path in asked:
        assert locate(f"{path}a%7Eb", mirror, host="mirror.example") == ("m", "a%7Eb"), path
        assert locate(f"http://mirror.example{path}a", mirror) == ("m", "a"), path


def test_an_address_may_be_what_an_origin_is_called() -> None:
    six = Mirror(name="six", mount="/six/", origins=("http://[2001:db8::5]:8000/x/", "http://192.0.2.9/x/"))
    assert locate("/x/a", six, host="[2001:DB8::5]:8000") == ("six", "a")
    assert locate("/x/a", six, host="[2001:0db8:0:0::0005]:8000") == ("six", "a")
    assert locate("http://[2001:db8:0::5]:8000/x/a", six) == ("six", "a")
    assert locate("/x/a", six, host="192.0.2.9") == ("six", "a")
    assert locate("/x/a", six, host="[2001:db8::5]") is None
