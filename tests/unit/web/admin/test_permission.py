"""Who may read and who may change, decided from what is known of a request alone."""

import hashlib
from typing import Literal

import pytest
from multidict import CIMultiDict

from proxy.web.admin.permission import (
    CHANGE_HEADER,
    LOCAL_SOCKET,
    NOBODY,
    AdminOptions,
    AdminPermission,
    Asker,
)

TOKEN = "correct horse battery staple"
SHA256 = hashlib.sha256(TOKEN.encode()).hexdigest()
FAR = "192.0.2.7"


def asker(address: str = "127.0.0.1", host: str = "localhost:8080", **headers: str) -> Asker:
    """Return who sends a POST with the header that changes need; `_` in a header's name stands for `-`."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Asker(address, CIMultiDict({"Host": host, CHANGE_HEADER: "1", **given}))


def may_change(who: Asker, **options: object) -> bool:
    """Say whether somebody may change something, by these options."""
    return AdminPermission(AdminOptions(**options)).why_not_change(who) is None  # type: ignore[arg-type]


def may_read(permission: AdminPermission, who: Asker) -> bool:
    """Say whether somebody may see the figures."""
    return permission.why_not_read(who) is None


# Who sits at this machine


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("127.0.0.1", "localhost:8080"),
        ("127.0.0.1", "LocalHost"),
        ("127.0.0.1", "127.0.0.1:8080"),
        ("127.9.9.9", "127.0.0.1"),
        ("::1", "[::1]:8080"),
        ("::1%lo", "[::1]"),
        ("::ffff:127.0.0.1", "127.0.0.1:8080"),
        (LOCAL_SOCKET, "whatever"),
    ],
)
def test_whoever_sits_at_this_machine_and_names_it_may_change_things(address: str, host: str) -> None:
    assert may_change(asker(address, host))
    assert not may_change(asker(address, host), trust_loopback=False)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.test",
        "evil.test:8080",
        "localhost:8080@evil.test",
        "localhost:evil.test",
        "localhost.evil.test",
        "127.0.0.1.evil.test",
        "evil.test:127.0.0.1",
        "[localhost.evil.test]",
        "localhost@evil.test",
    ],
)
def test_a_foreign_name_that_leads_to_this_machine_is_not_trusted(host: str) -> None:
    """A page at that name is of the same origin, and may send any header (DNS rebinding)."""
    assert not may_change(asker(host=host))
    assert not may_change(asker(host=host, Origin=f"http://{host}"))


@pytest.mark.parametrize(
    "address", [FAR, "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1", "", "nonsense", NOBODY]
)
def test_nobody_else_is_trusted_for_where_they_are(address: str) -> None:
    """Not even one whose address was lost because the connection has gone."""
    assert not may_change(asker(address))


@pytest.mark.parametrize("header", ["Forwarded", "X_Forwarded_For", "X-FORWARDED-FOR", "X_Real_Ip", "Via"])
def test_what_a_reverse_proxy_on_this_machine_passes_on_is_not_trusted(header: str) -> None:
    for address in ("127.0.0.1", LOCAL_SOCKET):
        assert not may_change(asker(address, **{header: "127.0.0.1"}))


# Tokens


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_right_token_makes_an_admin_from_anywhere(scheme: str) -> None:
    who = asker(FAR, "cache.example.test", Authorization=f"{scheme} {TOKEN}", Via="1.1 somebody")
    assert may_change(who, token_sha256=SHA256)
    assert may_change(who, token_sha256=SHA256.upper(), trust_loopback=False)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Bearer {TOKEN.upper()}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {SHA256}",
        f"Basic {TOKEN}",
        f"Bearer\t{TOKEN}",
        "Bearer \udcff\udcfe",
    ],
)
def test_any_other_token_makes_none(authorization: str) -> None:
    who = asker(FAR, Authorization=authorization)
    assert not may_change(who, token_sha256=SHA256)


@pytest.mark.parametrize("token", ["", " ", "x"])
def test_without_a_configured_token_none_works(token: str) -> None:
    assert not may_change(asker(FAR, Authorization=f"Bearer {token}"))


def test_a_token_may_have_any_letters() -> None:
    token = "pässwörd"
    sha256 = hashlib.sha256(token.encode()).hexdigest()
    assert may_change(asker(FAR, Authorization=f"Bearer {token}"), token_sha256=sha256)


# Pages of other sites


@pytest.mark.parametrize(
    "origin", ["http://evil.test", "http://localhost:9999", "https://localhost", "null", "", "localhost:8080"]
)
def test_a_page_of_another_site_changes_nothing(origin: str) -> None:
    """Whoever its visitor is."""
    token = f"Bearer {TOKEN}"
    assert not may_change(asker(Origin=origin))
    assert not may_change(asker(FAR, Origin=origin, Authorization=token), token_sha256=SHA256)
    assert not may_change(asker(LOCAL_SOCKET, Origin=origin))


def test_our_own_page_may_change_things() -> None:
    assert may_change(asker(Origin="http://localhost:8080"))


def test_nothing_is_changed_without_the_header_that_no_form_can_send() -> None:
    who = asker(Authorization=f"Bearer {TOKEN}")
    del who.headers[CHANGE_HEADER]  # type: ignore[attr-defined]
    assert CHANGE_HEADER in str(AdminPermission(AdminOptions(token_sha256=SHA256)).why_not_change(who))


# Reading


def test_everybody_may_read_unless_only_admins_may() -> None:
    stranger, local = asker(FAR), asker()
    admin = asker(FAR, Authorization=f"Bearer {TOKEN}")
    everyone = AdminPermission(AdminOptions(token_sha256=SHA256))
    admins = AdminPermission(AdminOptions(read="admins", token_sha256=SHA256))

    assert [may_read(everyone, who) for who in (stranger, local, admin)] == [True, True, True]
    assert [may_read(admins, who) for who in (stranger, local, admin)] == [False, True, True]


def test_reading_needs_no_change_header() -> None:
    who = Asker("127.0.0.1", CIMultiDict({"Host": "localhost"}))
    assert may_read(AdminPermission(AdminOptions(read="admins")), who)


# Under which names


@pytest.mark.parametrize(
    "host",
    [
        "192.0.2.7:8080",
        "[2001:db8::7]:8080",
        "localhost:8080",
        "x.localhost",
        "cache",
        "cache:8080",
        "cache.site.example:8080",
        "CACHE.site.example.",
        "images.example.org",
        "cache.lan",
        "",
    ],
)
def test_the_pages_are_shown_under_names_that_nobody_can_have_made_up(host: str) -> None:
    own_names = {"cache", "cache.site.example"}
    options = AdminOptions(names=("Images.example.org",))
    assert may_read(AdminPermission(options, own_names), asker(FAR, host))


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "cache.evil.example", "192.0.2.7.evil.example", "a b",
     "x@localhost", "localhost.evil.example", "evil.example.", "images.maas.io", "\udcff"],
)  # fmt: skip
def test_under_a_foreign_name_the_pages_are_not_shown(host: str) -> None:
    """A page of that name would be of the same origin, and could read them (DNS rebinding)."""
    permission = AdminPermission(AdminOptions(token_sha256=SHA256), {"cache", "cache.site.example"})
    for address in (FAR, "127.0.0.1"):
        assert "[admin] names" in str(permission.why_not_read(asker(address, host)))
    assert may_read(permission, asker(FAR, host, Authorization=f"Bearer {TOKEN}"))


def test_by_tls_or_a_local_socket_nobody_comes_under_a_foreign_name() -> None:
    """A browser has checked the certificate for it; no browser opens a local socket."""
    permission = AdminPermission(AdminOptions())
    headers = CIMultiDict({"Host": "evil.example"})
    assert may_read(permission, Asker(FAR, headers, is_encrypted=True))
    assert may_read(permission, Asker(LOCAL_SOCKET, headers))
    assert not may_read(permission, Asker(FAR, headers))


@pytest.mark.parametrize(
    ("read", "host", "expected"),
    [("everyone", "evil.example", True), ("everyone", FAR, False), ("admins", "evil.example", False)],
)
def test_an_address_helps_only_where_the_name_is_what_is_wrong(
    read: Literal["everyone", "admins"], host: str, expected: bool
) -> None:
    permission = AdminPermission(AdminOptions(read=read))
    assert permission.may_read_by_address(asker(FAR, host)) == expected
