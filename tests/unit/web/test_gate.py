"""Who may read a mirror, decided from addresses, names and passwords alone."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from support.credentials import basic, cheap_hash, user

from proxy.errors import ProxyError
from proxy.mirror import Mirror
from proxy.web.access import password_checks
from proxy.web.access.gate import (
    AccessOptions,
    Gate,
    NetworkNotAllowed,
    PasswordNeeded,
    PasswordRefused,
)
from proxy.web.access.networks import Networks
from proxy.web.access.password_checks import PasswordChecks, TooManyPasswords
from proxy.web.access.passwords import PasswordHash

# Networks


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ("::FFFF:0a01:0203", "10.0.0.0/8"),
        ("fd00::1", "fd00::/8"),
        ("fe80::1%eth0", "fe80::/10"),
        ("::1", "::1"),
    ],
)
def test_an_address_is_in_its_network_however_it_is_written(address: str, network: str) -> None:
    assert Networks([network]).hold(address)
    assert Networks(["203.0.113.0/24", network]).hold(address)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("11.0.0.1", "10.0.0.0/8"),
        ("192.0.2.8", "192.0.2.7"),
        ("::ffff:11.0.0.1", "10.0.0.0/8"),
        ("10.1.2.3", "::/0"),
        ("::ffff:10.1.2.3", "::/0"),
        ("::1", "0.0.0.0/0"),
        ("::10.1.2.3", "10.0.0.0/8"),
        ("", "0.0.0.0/0"),
        ("10.1.2.3.4", "10.0.0.0/8"),
        ("somebody who has left", "0.0.0.0/0"),
    ],
)
def test_any_other_address_is_outside(address: str, network: str) -> None:
    """IPv4 within IPv6 is IPv4, and who cannot be located is in no network."""
    assert not Networks([network]).hold(address)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "", "local"])
def test_everybody_is_everybody_even_without_an_address(address: str) -> None:
    assert Networks(["::/0", "10.0.0.0/8", "0.0.0.0/0"]).hold(address)


# Hashes


def test_a_hash_knows_its_password_and_no_other() -> None:
    kept = PasswordHash.parse(str(PasswordHash.of(b"correct horse", b"0123456789abcdef")))
    assert kept.matches(b"correct horse")
    assert str(kept).startswith("$scrypt$ln=14,r=8,p=5$"), "less costs an attacker less"
    assert not any(kept.matches(other) for other in (b"", b"Correct horse", b"correct horse "))


def test_a_hash_is_what_scrypt_makes_of_a_password() -> None:
    """The third test vector of RFC 7914, section 12."""
    key = bytes.fromhex(
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
        "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
    )
    kept = PasswordHash(10, 8, 16, b"NaCl", key)
    assert kept.matches(b"password")
    assert str(kept).startswith("$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4Vuc")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "$6$rounds=5000$salt$hash",
        cheap_hash("x") + "\n",
        cheap_hash("x")[:-40],
        cheap_hash("x").replace("ln=4", "ln=40"),
        cheap_hash("x").replace("ln=4", "ln=0"),
        cheap_hash("x").replace("ln=4", "ln=24"),
        cheap_hash("x").replace("p=1", "p=99"),
        cheap_hash("x").replace("r=8", "r=0"),
        cheap_hash("x") + "A",
        cheap_hash("x").replace("p=1", "p=17"),
        "$scrypt$ln=4,r=8,p=1$AAAAAAAAAAAAA$" + cheap_hash("x").rpartition("$")[2],
    ],
)
def test_what_is_no_hash_or_costs_too_much_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="hash-password") as caught:
        PasswordHash.parse(text)
    assert not text or text not in str(caught.value)


def test_sixteen_lanes_are_not_too_many() -> None:
    assert PasswordHash.parse(cheap_hash("x").replace("p=1", "p=16")).lanes == 16


def test_a_hash_may_take_a_quarter_of_a_gibibyte_and_no_more() -> None:
    assert PasswordHash.parse(cheap_hash("x").replace("ln=4", "ln=18")).cost_log2 == 18
    with pytest.raises(ValueError, match="costs too much"):
        PasswordHash.parse(cheap_hash("x").replace("ln=4", "ln=19"))


def test_neither_hash_nor_user_shows_itself() -> None:
    kept, text = PasswordHash.parse(cheap_hash("hunter2")), cheap_hash("hunter2")
    assert text.rpartition("$")[2] not in repr(user("maas", "hunter2"))
    assert repr(kept.key) not in repr(kept)


# Passwords, while clients wait


class Counting:
    """A hash that counts how often it is held against a password, and waits until it is let go."""

    def __init__(self, right: bytes) -> None:
        self.right = right
        self.times = 0
        self.go = threading.Event()
        self.go.set()
        self.threads: set[str] = set()
        self.cost_log2, self.block, self.lanes = 4, 8, 1

    def matches(self, password: bytes) -> bool:
        self.go.wait(20)
        self.times += 1
        self.threads.add(threading.current_thread().name)
        return password == self.right


@pytest.fixture
def kept() -> Iterator[Counting]:
    kept = Counting(b"secret")
    yield kept
    kept.go.set()


@pytest.fixture
async def checks(kept: Counting) -> AsyncIterator[PasswordChecks]:
    hashes: dict[str, Any] = {"maas": kept}
    checks = PasswordChecks(hashes)
    yield checks
    checks.close()


async def test_a_password_is_hashed_once_right_or_wrong(checks: PasswordChecks, kept: Counting) -> None:
    for _ in range(3):
        assert await checks.is_right("maas", b"secret", "192.0.2.1")
        assert not await checks.is_right("maas", b"wrong", "192.0.2.1")
    assert kept.times == 2


async def test_a_hundred_requests_at_once_hash_once_and_never_in_the_event_loop(
    checks: PasswordChecks, kept: Counting
) -> None:
    """MAAS asks for a hundred images at a time."""
    answers = await asyncio.gather(*(checks.is_right("maas", b"secret", "192.0.2.1") for _ in range(100)))
    assert answers == [True] * 100
    assert kept.times == 1
    assert all(name.startswith("passwords") for name in kept.threads)


async def test_passwords_are_hashed_one_after_the_other() -> None:
    """Each takes 16 MiB, and a quarter of a second of one core."""
    at_once, most = 0, 0

    class Slow(Counting):
        def matches(self, password: bytes) -> bool:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            threading.Event().wait(0.02)
            at_once -= 1
            return password == self.right

    kept: dict[str, Any] = {"maas": Slow(b"secret")}
    checks = PasswordChecks(kept)
    tries = (checks.is_right("maas", b"%d" % number, f"192.0.2.{number}") for number in range(8))
    assert await asyncio.gather(*tries) == [False] * 8
    checks.close()
    assert most == 1


async def test_nobody_waits_for_a_check_when_no_more_is_checked(kept: Counting) -> None:
    hashes: dict[str, Any] = {"maas": kept}
    checks = PasswordChecks(hashes)
    kept.go.clear()
    waiting = asyncio.create_task(checks.is_right("maas", b"secret", "192.0.2.1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    checks.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not kept.go.is_set()


async def test_once_no_more_is_checked_no_password_is_hashed_and_no_thread_is_left(kept: Counting) -> None:
    hashes: dict[str, Any] = {"maas": kept}
    others = set(threading.enumerate())
    checks = PasswordChecks(hashes)
    kept.go.clear()
    waiting = [asyncio.create_task(checks.is_right("maas", b"%d" % n, f"192.0.2.{n}")) for n in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (thread,) = (one for one in set(threading.enumerate()) - others if one.name.startswith("passwords"))
    checks.close()
    assert kept.times == 0
    kept.go.set()
    await asyncio.to_thread(thread.join, 20)
    assert not thread.is_alive()
    assert kept.times == 1
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in answers] == [asyncio.CancelledError] * 2


async def test_of_wrong_passwords_the_oldest_is_forgotten(
    checks: PasswordChecks, kept: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_checks, "_MOST_WRONG", 2)
    for password in (b"first", b"second", b"third", b"third", b"second"):
        await checks.is_right("maas", password, "192.0.2.1")
    assert kept.times == 3
    await checks.is_right("maas", b"first", "192.0.2.1")
    assert kept.times == 4


async def test_nobody_is_refused_whatever_the_password(checks: PasswordChecks) -> None:
    for name in ("", "root", "maas\0"):
        for password in (b"", b"secret"):
            assert not await checks.is_right(name, password, "192.0.2.1")


async def test_an_unknown_name_costs_as_much_as_a_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the time that an answer takes would tell which names there are."""
    costs: list[tuple[int, int, int]] = []

    def noted(kept: PasswordHash, _: bytes) -> bool:
        costs.append((kept.cost_log2, kept.block, kept.lanes))
        return False

    monkeypatch.setattr(PasswordHash, "matches", noted)
    checks = PasswordChecks({"maas": PasswordHash.parse(cheap_hash("secret"))})
    await checks.is_right("maas", b"wrong", "192.0.2.1")
    await checks.is_right("nobody", b"wrong", "192.0.2.1")
    checks.close()
    assert costs == [(4, 8, 1)] * 2


async def test_who_tries_many_passwords_waits_for_themselves_alone(
    checks: PasswordChecks, kept: Counting
) -> None:
    kept.go.clear()
    guesses = [asyncio.create_task(checks.is_right("maas", b"%d" % n, "192.0.2.66")) for n in range(10)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    other = asyncio.create_task(checks.is_right("maas", b"secret", "192.0.2.1"))
    await asyncio.sleep(0)
    kept.go.set()
    results = await asyncio.gather(*guesses, return_exceptions=True)

    assert await other
    assert sum(isinstance(result, TooManyPasswords) for result in results) == 6
    assert not any(result is True for result in results)
    # And those who were sent away may come again.
    assert await checks.is_right("maas", b"secret", "192.0.2.66")


async def test_how_many_wait_and_what_is_remembered_is_bounded(
    checks: PasswordChecks, kept: Counting
) -> None:
    kept.go.clear()
    guesses = [asyncio.create_task(checks.is_right("maas", b"%d" % n, f"192.0.2.{n}")) for n in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    kept.go.set()
    results = await asyncio.gather(*guesses, return_exceptions=True)
    for number in range(2000):
        await checks.is_right("maas", b"guess %d" % number, "192.0.2.66")

    assert sum(isinstance(result, TooManyPasswords) for result in results) == 36
    assert len(checks._wrong) == 1024
    assert not checks._waiting
    assert not checks._checks


async def test_a_client_that_leaves_spoils_no_check_for_others(
    checks: PasswordChecks, kept: Counting
) -> None:
    kept.go.clear()
    first = asyncio.create_task(checks.is_right("maas", b"secret", "192.0.2.1"))
    second = asyncio.create_task(checks.is_right("maas", b"secret", "192.0.2.2"))
    await asyncio.sleep(0)
    first.cancel()
    kept.go.set()
    assert await second
    assert kept.times == 1


# The gate

OPEN = Mirror(name="open", mount="/open/", origins=())
NARROW = Mirror(name="narrow", mount="/narrow/", origins=(), allow=("10.1.0.0/16", "192.0.2.0/24"))
OWN = Mirror(name="own", mount="/own/", origins=(), users=("lab",))
USERS = (user("maas", "secret"), user("lab", "other"))


async def verdict(
    options: AccessOptions, mirror: Mirror, address: str = "10.1.2.3", sent: str | None = None
) -> type[ProxyError] | None:
    """Return what keeps a client out."""
    gate = Gate(options, USERS, (OPEN, NARROW, OWN))
    try:
        await gate.pass_through(mirror, address, sent)
    except ProxyError as error:
        return type(error)
    finally:
        gate.close()
    return None


def test_who_is_kept_out_is_told_why_and_from_what() -> None:
    assert str(PasswordNeeded("maas")).startswith("the mirror maas needs a user and password")
    assert str(PasswordRefused("maas")) == "this user and password may not read the mirror maas"


async def test_by_default_everybody_comes_in() -> None:
    for address in ("192.0.2.1", "::1", ""):
        assert await verdict(AccessOptions(), OPEN, address) is None


async def test_a_mirrors_networks_and_those_of_all_must_both_hold_a_client() -> None:
    options = AccessOptions(allow=("10.0.0.0/8",))
    assert await verdict(options, NARROW, "10.1.2.3") is None
    assert await verdict(options, NARROW, "::ffff:10.1.2.3") is None
    for address in ("192.0.2.1", "10.2.0.1", "::ffff:192.0.2.1", "::1", ""):
        assert await verdict(options, NARROW, address) is NetworkNotAllowed


async def test_a_mirrors_own_users_take_the_place_of_those_of_all() -> None:
    options = AccessOptions(users=("maas",))
    maas, lab = basic("maas", "secret"), basic("lab", "other")
    assert await verdict(options, OPEN, sent=maas) is None
    assert await verdict(options, OPEN, sent=lab) is PasswordRefused
    assert await verdict(options, OWN, sent=lab) is None
    assert await verdict(options, OWN, sent=maas) is PasswordRefused
    assert await verdict(AccessOptions(), OPEN) is None


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic bWFhcw==",
        "Basic b\udcffb",
        "Bearer secret",
        "Digest username=maas",
    ],
)
async def test_without_credentials_they_are_asked_for(sent: str | None) -> None:
    assert await verdict(AccessOptions(users=("maas",)), OPEN, sent=sent) is PasswordNeeded


@pytest.mark.parametrize(
    ("name", "password"), [("maas", "Secret"), ("maas", ""), ("MAAS", "secret"), ("", ""), ("lab", "secret")]
)
async def test_wrong_credentials_are_refused(name: str, password: str) -> None:
    options = AccessOptions(users=("maas",))
    assert await verdict(options, OPEN, sent=basic(name, password)) is PasswordRefused


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_any_letters_work_in_a_password_however_a_client_encodes_them(encoding: str) -> None:
    """Requests and aiohttp send Latin-1, httpx and browsers UTF-8."""
    gate = Gate(AccessOptions(users=("maas",)), (user("maas", "pässwörd:x"),), (OPEN,))
    await gate.pass_through(
        OPEN, "192.0.2.1", basic("maas", "pässwörd:x", encoding).replace("Basic", "bAsIc")
    )
    with pytest.raises(PasswordRefused):
        await gate.pass_through(OPEN, "192.0.2.1", basic("maas", "pässword:x", encoding))
    gate.close()


async def test_the_network_is_judged_before_the_password() -> None:
    """Who is outside cannot even try passwords."""
    options = AccessOptions(allow=("10.0.0.0/8",), users=("maas",))
    assert await verdict(options, OPEN, "192.0.2.1", basic("maas", "secret")) is NetworkNotAllowed


@pytest.mark.parametrize(
    ("options", "mirror", "is_open", "asks_networks"),
    [
        (AccessOptions(), OPEN, True, False),
        (AccessOptions(), NARROW, False, True),
        (AccessOptions(), OWN, False, False),
        (AccessOptions(allow=("10.0.0.0/8",)), OPEN, False, True),
        (AccessOptions(allow=("10.0.0.0/8",)), NARROW, False, True),
        (AccessOptions(allow=("10.0.0.0/8",)), OWN, False, True),
        (AccessOptions(users=("maas",)), OPEN, False, False),
        (AccessOptions(users=("maas",)), NARROW, False, True),
    ],
)
async def test_a_mirror_is_open_that_asks_neither_for_networks_nor_for_users(
    options: AccessOptions, mirror: Mirror, *, is_open: bool, asks_networks: bool
) -> None:
    gate = Gate(options, USERS, (OPEN, NARROW, OWN))
    assert gate.is_open(mirror) is is_open
    assert gate.asks_networks(mirror) is asks_networks
    gate.close()
