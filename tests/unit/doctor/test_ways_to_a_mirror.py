"""What lies between a client and a mirror: names, addresses, certificates, proxies, the form of the URL."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from support.certificates import make_certificate
from support.examining import Doctor, codes, hasty
from support.faults import Fault
from support.keys import SigningKey
from support.origin import Origin
from support.tree import SignedTree

from proxy.doctor.bounds import Bounds
from proxy.doctor.checks.extras import of_plain_http, of_range
from proxy.doctor.clients import CLIENTS
from proxy.doctor.exchange import Ask, Exchange, Trouble
from proxy.doctor.findings import Severity
from proxy.doctor.gpgv import Gpgv
from proxy.doctor.wanted import Wanted
from proxy.doctor.wire.asking import Asker
from proxy.doctor.wire.proxies import proxy_for
from proxy.doctor.wording import Voice

WARNING = Severity.WARNING
INDEX = "streams/v1/index.sjson"


@pytest.fixture
async def below(good: SignedTree, tmp_path: Path) -> AsyncIterator[Origin]:
    """Return a server that has the mirror below a path."""
    root = tmp_path / "root/images"
    root.mkdir(parents=True)
    (root / "stable").symlink_to(good.root)
    async with Origin(tmp_path / "root") as origin:
        yield origin


async def test_a_port_that_nobody_listens_at(mirror_server: Origin, doctor: Doctor) -> None:
    await mirror_server.stop()

    report = await doctor.examine(mirror_server.url)

    assert codes(report) == {"refused"}
    assert report.tried["requests"] == 1


async def test_a_name_that_does_not_resolve(doctor: Doctor) -> None:
    assert codes(await doctor.examine("http://no such name.invalid/")) == {"name-unknown"}


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("b\u00fccher.test", "xn--bcher-kva.test"),
        ("user:p\u00e4ss@b\u00fccher.test", "xn--bcher-kva.test"),
        ("Cache.Test", "Cache.Test"),
        ("[::1]", "[::1]"),
    ],
)
async def test_a_host_is_named_as_clients_name_it(mirror_server: Origin, written: str, named: str) -> None:
    """Letters beyond ASCII encoded: a server refuses them as they are."""
    asker = Asker(Bounds(), environ={}, connect_to="127.0.0.1")
    exchange = await asker.ask(Ask(url=f"http://{written}:{mirror_server.port}/{INDEX}", most_bytes=0))
    assert exchange.status == 200
    assert [one.headers["Host"] for one in mirror_server.gets(INDEX)] == [f"{named}:{mirror_server.port}"]


async def test_each_form_of_the_url_is_the_same_mirror(below: Origin, doctor: Doctor) -> None:
    shouted = below.url.replace("http://", "HTTP://")
    for root, tail in ((below.url, ""), (below.url, "/"), (below.url, f"/{INDEX}"), (shouted, "/")):
        report = await doctor.examine(f"{root}images/stable{tail}", "maas")
        assert report.is_content, (tail, report.findings)
        assert not codes(report, WARNING), (tail, report.findings)


@pytest.mark.parametrize("status", [403, 500, 401])
async def test_what_is_not_there_has_to_be_absent_for_a_url_without_a_slash(
    status: int, below: Origin, doctor: Doctor
) -> None:
    below.fault("images/stablestreams/*", Fault(status=status))

    bare = await doctor.examine(f"{below.url}images/stable", "maas-3.7")
    slashed = await doctor.examine(f"{below.url}images/stable/", "maas-3.7")
    newer = await doctor.examine(f"{below.url}images/stable", "maas-3.8")
    family = await doctor.examine(f"{below.url}images/stable/")

    assert codes(bare) == codes(family) == {"glued"}
    assert slashed.is_content
    assert codes(slashed, WARNING) == {"glued"}
    assert newer.is_content


async def test_a_start_page_for_every_path_is_found(below: Origin, doctor: Doctor) -> None:
    below.fault("images/stablestreams/*", Fault(body=b"<html>Welcome</html>"))

    assert "glued" in codes(await doctor.examine(f"{below.url}images/stable"))


async def test_a_bare_host_wants_a_slash(mirror_server: Origin, doctor: Doctor) -> None:
    report = await doctor.examine(mirror_server.url.rstrip("/"), "sstream")

    assert report.is_content
    assert "glued-host" in codes(report, WARNING)


async def test_an_index_that_is_named_and_not_signed(mirror_server: Origin, doctor: Doctor) -> None:
    url = f"{mirror_server.url}streams/v1/index.json"

    free = await doctor.examine(url)
    checked = await doctor.examine(url, is_given=True)

    assert free.is_content
    assert "unchecked" in codes(free, Severity.NOTE)
    assert "unsigned" in codes(checked)


@pytest.fixture
def armored(doctor: Doctor, tmp_path: Path, key: SigningKey) -> Gpgv:
    path = tmp_path / "armored.asc"
    path.write_bytes(key.public_armored())
    return doctor.judge(path)


async def test_a_keyring_that_is_armored(mirror_server: Origin, doctor: Doctor, armored: Gpgv) -> None:
    assert codes(await doctor.examine(mirror_server.url, judge=armored)) == {"keyring-armored"}
    assert (await doctor.examine(mirror_server.url, "juju", judge=armored)).is_content


async def test_a_certificate_of_an_authority_that_nobody_knows(
    good: SignedTree, doctor: Doctor, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path)
    async with Origin(good.root, tls=certificate.server) as origin:
        unknown = await doctor.examine(origin.url)
        known = await doctor.examine(origin.url, authority=certificate.authority)
        origin.fault("noble/amd64/20250709/squashfs", Fault(corrupt_at=1))
        both = await doctor.examine(origin.url)

    assert codes(unknown) == {"certificate"}
    assert known.is_content
    assert codes(both) == {"certificate", "item-hash"}


async def test_a_certificate_for_another_name(good: SignedTree, doctor: Doctor, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "mirror.example.test")
    async with Origin(good.root, tls=certificate.server) as origin:
        report = await doctor.examine(origin.url, authority=certificate.authority)

    assert codes(report) == {"certificate"}
    assert "127.0.0.1" in report.findings[0].says


@pytest.mark.parametrize(
    ("days", "code", "severity"), [(-2, "certificate", Severity.FAULT), (3, "certificate-ends", WARNING)]
)
async def test_a_certificate_that_ends(
    days: int, code: str, severity: Severity, good: SignedTree, doctor: Doctor, tmp_path: Path
) -> None:
    authority = trustme.CA()
    ends = datetime.now(UTC) + timedelta(days=days)
    issued = authority.issue_cert("127.0.0.1", not_before=ends - timedelta(days=90), not_after=ends)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    async with Origin(good.root, tls=context) as origin:
        report = await doctor.examine(origin.url, authority=tmp_path / "ca.crt")

    assert code in codes(report, severity)
    assert report.is_content == (severity is WARNING)


async def test_https_asked_of_plain_http(mirror_server: Origin, doctor: Doctor) -> None:
    url = mirror_server.url.replace("http:", "https:")

    assert codes(await doctor.examine(url)) == {"tls-failed"}


@pytest.mark.parametrize(("trouble", "code"), [(Trouble.SILENT, {"http-hangs"}), (Trouble.REFUSED, set())])
def test_plain_http_that_nobody_answers_costs_lxd_time(trouble: Trouble, code: set[str]) -> None:
    exchange = Exchange(method="GET", url="http://h/x", trouble=trouble, detail="nothing came")

    found = list(of_plain_http(Voice(CLIENTS["lxd"]), exchange))

    assert {one.code for one in found} == code
    assert all(one.severity is WARNING for one in found)


async def test_a_proxy_in_the_environment_is_used_and_told_of(mirror_server: Origin, doctor: Doctor) -> None:
    """The server of the mirror answers requests in absolute form, as a proxy gets them."""
    environ = {"http_proxy": mirror_server.url}

    report = await doctor.examine("http://10.11.12.13/", "maas-3.8", environ=environ)

    assert report.is_content
    assert codes(report, WARNING) == {"proxy-used"}
    targets = {request.target for request in mirror_server.requests}
    assert all(target.startswith("http://10.11.12.13/") for target in targets)


async def test_a_proxy_that_is_down_or_refuses(mirror_server: Origin, doctor: Doctor) -> None:
    mirror_server.fault("*", Fault(status=403))
    refused = await doctor.examine("https://10.11.12.13/", environ={"https_proxy": mirror_server.url})
    url = mirror_server.url
    await mirror_server.stop()
    down = await doctor.examine("http://10.11.12.13/", environ={"HTTP_PROXY": url})

    assert codes(refused) == {"proxy-fails"}
    assert codes(down) == {"proxy-fails"}


@pytest.mark.parametrize(
    ("no_proxy", "is_past"),
    [
        ("mirror.lan", True), (".lan", True), ("*.lan", True), ("lan", True), ("*", True),
        ("other, mirror.lan:8080", True),
        ("or.lan", False), ("", False), ("10.0.0.0/8", False), ("mirror.lan:81", False),
    ],
)  # fmt: skip
def test_what_no_proxy_names_is_asked_directly(no_proxy: str, *, is_past: bool) -> None:
    environ = {"http_proxy": "proxy.lan:3128", "no_proxy": no_proxy}

    assert (proxy_for("http://mirror.lan:8080/x", environ) == "") == is_past


def test_networks_in_no_proxy_are_of_addresses() -> None:
    environ = {"ALL_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8,fd00::/8"}

    assert proxy_for("http://10.2.3.4/", environ) == ""
    assert proxy_for("http://[fd00::1]/", environ) == ""
    assert proxy_for("https://11.2.3.4/", environ) == "http://p:1"


async def test_credentials_of_the_url_are_sent_and_never_shown(mirror_server: Origin, doctor: Doctor) -> None:
    url = mirror_server.url.replace("//", "//kim:s3cret@")
    mirror_server.fault(INDEX, Fault(status=404))

    report = await doctor.examine(url)

    assert mirror_server.requests[0].headers["Authorization"] == "Basic a2ltOnMzY3JldA=="
    assert "s3cret" not in str(report)


async def test_a_crowd_that_is_not_let_in(mirror_server: Origin, doctor: Doctor) -> None:
    mirror_server.fault("noble/*", Fault(status=429), times=3)

    assert codes(await doctor.examine(mirror_server.url)) == {"crowd"}


async def test_a_load_that_is_too_much(mirror_server: Origin, doctor: Doctor) -> None:
    mirror_server.fault("bootloaders/uefi/amd64/20250709.0/grub2-signed.tar.xz", Fault(status=503), times=0)
    quiet = await doctor.examine(mirror_server.url, bounds=Bounds(load=30))
    asked = mirror_server.count("*")

    assert quiet.is_content
    assert asked >= 30 + quiet.tried["items"]


async def test_what_comes_after_a_stray_chunk_is_told(mirror_server: Origin, doctor: Doctor) -> None:
    assert codes(await doctor.examine(mirror_server.url, "maas-3.5"), WARNING) == {"stray-chunk"}


async def test_a_client_is_patient_with_a_slow_server(mirror_server: Origin, doctor: Doctor) -> None:
    mirror_server.fault("*", Fault(latency_s=0.01))

    assert (await doctor.examine(mirror_server.url, hasty("maas"))).is_content


async def test_parts_are_asked_for_where_a_redirect_leads(
    good: SignedTree, mirror_server: Origin, doctor: Doctor
) -> None:
    async with Origin(good.root) as elsewhere:
        files = (one.relative_to(good.root) for one in good.root.rglob("*") if one.is_file())
        for path in (str(one) for one in files if one.parts[0] != "streams"):
            mirror_server.fault(path, Fault(redirect_to=elsewhere.url + path))

        report = await doctor.examine(mirror_server.url, "sstream")

        assert report.is_content, report.findings
        assert any("Range" in one.headers for one in elsewhere.requests)


@pytest.mark.parametrize(
    ("version", "client", "severity"),
    [
        ("HTTP/1.1", "sstream", Severity.FAULT),
        ("HTTP/1.0", "sstream", WARNING),
        ("HTTP/1.1", "maas", Severity.NOTE),
    ],
)
def test_who_resumes_needs_ranges(version: str, client: str, severity: Severity) -> None:
    exchange = Exchange(method="GET", url="http://h/x", status=200, version=version, is_whole=True)
    file = Wanted(path="x", kind="x", size_bytes=5, sums={}, product="p", version="v", is_taken=True)
    chosen = CLIENTS[client]

    (found,) = of_range(chosen, Voice(chosen), file, exchange, 2, None)

    assert (found.code, found.severity) == ("range-ignored", severity)


@pytest.mark.parametrize(
    ("body", "place", "problem"),
    [
        (b"cde", "bytes 2-4/5", ""),
        (b"xde", "bytes 2-4/5", "its bytes are not those"),
        (b"cd", "bytes 2-4/5", "2 bytes came"),
        (b"bcde", "bytes 1-4/5", "begins with byte 1"),
        (b"cde", "bytes 2-4/9", "of 9 bytes"),
        (b"cde", "", "missing"),
    ],
)
def test_a_part_has_to_be_the_part_that_was_asked_for(body: bytes, place: str, problem: str) -> None:
    file = Wanted(path="x", kind="x", size_bytes=5, sums={}, product="p", version="v", is_taken=True)
    exchange = Exchange(
        method="GET",
        url="http://h/x",
        status=206,
        headers=(("Content-Range", place),) if place else (),
        body=body,
        body_bytes=len(body),
        is_whole=True,
    )
    client = CLIENTS["sstream"]

    found = list(of_range(client, Voice(client), file, exchange, 2, b"cde"))

    assert bool(found) == bool(problem)
    assert all(problem in one.says for one in found)
