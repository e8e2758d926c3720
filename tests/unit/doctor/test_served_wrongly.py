"""A good tree behind a server that misbehaves: each fault is found, by name, for the client that meets it."""

import time
from dataclasses import dataclass
from email.utils import formatdate

import pytest
from support.examining import SHORT_S, Doctor, codes, hasty
from support.faults import Fault
from support.origin import Origin

from proxy.doctor.bounds import Bounds
from proxy.doctor.findings import Severity

INDEX = "streams/v1/index.sjson"
LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"
KERNEL = "noble/amd64/20250709/ga-24.04/generic/boot-kernel"
SQUASHFS = "noble/amd64/20250709/squashfs"
OLD_KERNEL = "noble/amd64/20250618/ga-24.04/generic/boot-kernel"


@dataclass(frozen=True)
class Seed:
    """A fault of the server, and what the doctor is to call it."""

    pattern: str
    fault: Fault
    code: str
    client: str = "maas"
    severity: Severity = Severity.FAULT


def head(status: str, *fields: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode()


SEEDS = {
    "index absent": Seed(INDEX, Fault(status=404), "absent"),
    "index refused": Seed(INDEX, Fault(status=403), "denied"),
    "password wanted": Seed("*", Fault(status=401), "denied", "sstream"),
    "proxy wants a password": Seed(INDEX, Fault(status=407), "proxy-denied"),
    "index fails": Seed(INDEX, Fault(status=503), "failed"),
    "page in place of the index": Seed(
        INDEX, Fault(body=b"<!DOCTYPE html><html>Welcome</html>"), "login-page"
    ),
    "empty index": Seed(INDEX, Fault(truncate_to=0), "empty"),
    "index of zeros": Seed(INDEX, Fault(body=bytes(4000)), "zeros"),
    "index without beginning": Seed(INDEX, Fault(body=b"\x1f\x8b\x08\x00rest"), "compressed"),
    "index changed": Seed(INDEX, Fault(corrupt_at=200), "signature-bad"),
    "index cut at its end": Seed(INDEX, Fault(truncate_to=600), "cut-off", "sstream"),
    "index reset": Seed(INDEX, Fault(cut_after=300), "cut"),
    "index closed early": Seed(INDEX, Fault(close_after=300), "cut", "sstream"),
    "index that stops": Seed(INDEX, Fault(stall_after=300), "stalled"),
    "index that does not come": Seed(INDEX, Fault(latency_s=600), "silent"),
    "false encoding of the index": Seed(INDEX, Fault(content_encoding="gzip"), "encoding-false"),
    "encoding that nobody asked for": Seed(INDEX, Fault(content_encoding="br"), "encoding-unasked"),
    "charset": Seed(INDEX, Fault(headers={"Content-Type": "text/plain; charset=utf-16"}), "charset"),
    "odd charset": Seed(
        INDEX,
        Fault(headers={"Content-Type": "text/plain; charset=iso-8859-1"}),
        "charset-odd",
    ),
    "odd charset, for those who do not look at it": Seed(
        "streams/*",
        Fault(headers={"Content-Type": "text/plain; charset=us-ascii", "Via": "1.1 squid"}),
        "cache-between",
        "maas-3.7",
        Severity.NOTE,
    ),
    "no HTTP": Seed(INDEX, Fault(head=b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "not-http"),
    "endless head": Seed(INDEX, Fault(head=b"HTTP/1.1 200 OK\r\n", endless=b"X-A: b\r\n" * 4000), "not-http"),
    "closed without a reply": Seed(INDEX, Fault(refuse=True), "closed"),
    "redirect without end": Seed(INDEX, Fault(redirect_to="/streams/v1/index.sjson"), "redirect-loop"),
    "redirect to no URL": Seed(INDEX, Fault(redirect_to="http://[::bad/"), "redirect-loop"),
    "redirect to a file": Seed(INDEX, Fault(redirect_to="file:///etc/passwd"), "redirect-loop", "sstream"),
    "part of the index": Seed(INDEX, Fault(head=head("206 Partial", "Content-Length: 0")), "partial"),
    "odd status": Seed(INDEX, Fault(head=head("204 No Content")), "failed"),
    "list absent": Seed(LIST, Fault(status=404), "absent"),
    "list changed": Seed(LIST, Fault(corrupt_at=900), "signature-bad", "sstream"),
    "clock": Seed(
        INDEX, Fault(headers={"Date": "Tue, 01 Jan 2019 00:00:00 GMT"}), "clock", severity=Severity.WARNING
    ),
    "old cache": Seed(INDEX, Fault(headers={"Age": "90000"}), "cache-old", severity=Severity.WARNING),
    "cache between": Seed(
        INDEX, Fault(headers={"Via": "1.1 squid"}), "cache-between", severity=Severity.NOTE
    ),
    "item absent": Seed(KERNEL, Fault(status=404), "item-absent"),
    "old item absent": Seed(OLD_KERNEL, Fault(status=404), "item-absent", severity=Severity.WARNING),
    "old item absent for a mirror": Seed(OLD_KERNEL, Fault(status=404), "item-absent", "sstream"),
    "old version absent, as with --max": Seed(
        "noble/amd64/20250618/*", Fault(status=404), "old-absent", "sstream", Severity.WARNING
    ),
    "all versions absent, for a mirror": Seed("noble/*", Fault(status=404), "item-absent", "sstream"),
    "item gone": Seed(KERNEL, Fault(status=410), "item-absent", "maas-3.8"),
    "item refused": Seed(KERNEL, Fault(status=403), "denied"),
    "item fails": Seed(KERNEL, Fault(status=500), "failed"),
    "items refused when many are wanted": Seed("noble/*", Fault(status=429), "failed"),
    "item changed": Seed(SQUASHFS, Fault(corrupt_at=5), "item-hash"),
    "item longer": Seed(KERNEL, Fault(body=b"x" * 9000), "item-size"),
    "item shorter": Seed(KERNEL, Fault(truncate_to=100), "item-size", "maas-3.4"),
    "item cut": Seed(KERNEL, Fault(cut_after=100), "cut"),
    "item closed early": Seed(KERNEL, Fault(close_after=100), "cut", "maas-3.5"),
    "item that stops": Seed(SQUASHFS, Fault(stall_after=1000), "stalled"),
    "item that does not come": Seed(SQUASHFS, Fault(latency_s=600), "silent"),
    "item redirected": Seed(KERNEL, Fault(redirect_to="/noble/amd64/20250618/squashfs"), "redirected"),
    "item redirected, old": Seed(
        KERNEL, Fault(redirect_to="/noble/amd64/20250618/squashfs"), "item-size", "maas-3.6"
    ),
    "item redirected, new": Seed(KERNEL, Fault(redirect_to="/x"), "redirected", "maas-3.7"),
    "item as a part": Seed(KERNEL, Fault(head=head("206 Partial", "Content-Length: 0")), "partial"),
    "false encoding of an item": Seed(SQUASHFS, Fault(content_encoding="gzip"), "encoding-false"),
    "encoding of an item": Seed(SQUASHFS, Fault(content_encoding="zstd"), "encoding-unasked"),
    "item compressed": Seed(SQUASHFS, Fault(gzip=True), "encoding-used", severity=Severity.WARNING),
    "page in place of an item": Seed(SQUASHFS, Fault(body=b"<html>log in"), "login-page"),
    "item without length": Seed(SQUASHFS, Fault(chunked=True), "item-unmeasured", severity=Severity.NOTE),
    "length that lies": Seed(SQUASHFS, Fault(length_error=7, close_after=100), "item-size"),
    "range ignored": Seed("*", Fault(ignore_range=True), "range-ignored", "sstream"),
    "range wrong": Seed("*", Fault(wrong_range=True), "range-wrong", "sstream"),
    "range empty": Seed("*", Fault(range_empty=True), "range-wrong", "sstream"),
    "range of another unit": Seed("*", Fault(range_unit="pages"), "range-wrong", "sstream"),
    "range of another file": Seed("*", Fault(total_error=3), "range-wrong", "sstream"),
    "range refused": Seed("*", Fault(range_status=416), "range-denied", "sstream"),
    "range closed": Seed("*", Fault(range_refuse=True), "range-denied", "sstream"),
}


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS.keys())
async def test_each_fault_of_a_server_is_found(seed: Seed, mirror_server: Origin, doctor: Doctor) -> None:
    mirror_server.fault(seed.pattern, seed.fault)
    is_slow = seed.fault.stall_after is not None or seed.fault.latency_s > SHORT_S
    client = hasty(seed.client) if is_slow else seed.client

    report = await doctor.examine(mirror_server.url, client)

    assert seed.code in codes(report, seed.severity), report.findings
    assert report.is_content == (seed.severity is not Severity.FAULT)


@pytest.mark.parametrize(
    "client", ["maas", "maas-3.4", "maas-3.5", "maas-3.6", "maas-3.7", "maas-3.8", "sstream", "juju"]
)
async def test_a_good_mirror_has_neither_faults_nor_warnings(
    client: str, mirror_server: Origin, doctor: Doctor
) -> None:
    report = await doctor.examine(mirror_server.url, client)

    assert not codes(report), report.findings
    assert codes(report, Severity.WARNING) <= {"stray-chunk"}
    assert report.tried["items"] == report.tried["named_items"] == report.tried["whole_items"] > 20


@pytest.mark.parametrize(
    ("dated_s_ago", "age", "is_wrong"),
    [(0, "3000", False), (3000, "3000", False), (3000, "0", True), (3000, "90", True), (-3000, "3000", True)],
)
async def test_a_cache_may_date_a_reply_by_its_own_clock_or_repeat_the_origins_date(
    dated_s_ago: int, age: str, is_wrong: bool, mirror_server: Origin, doctor: Doctor
) -> None:
    """This proxy gives its own date, and the age of what it last checked."""
    date = formatdate(time.time() - dated_s_ago, usegmt=True)
    mirror_server.fault(INDEX, Fault(headers={"Date": date, "Age": age}))

    report = await doctor.examine(mirror_server.url)

    assert ("clock" in codes(report, Severity.WARNING)) == is_wrong, report.findings


async def test_a_body_without_end_is_read_to_the_bound(mirror_server: Origin, doctor: Doctor) -> None:
    endless = Fault(head=head("200 OK"), endless=b"x" * 65536)
    mirror_server.fault(INDEX, endless)

    report = await doctor.examine(mirror_server.url, bounds=Bounds(document_bytes=500_000))

    assert codes(report) == {"too-large"}
    assert report.tried["bytes"] <= 500_000
