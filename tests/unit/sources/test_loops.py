"""What is known of requests that come back, without any request."""

import contextvars

import pytest

from proxy.sources.loops import CHAIN, Behind, LoopDetected, Loops, chain_of

ME, OTHER, THIRD = "0" * 16, "1" * 16, "a" * 16


def test_what_one_sends_another_reads() -> None:
    def sent_by(own: str, chain: tuple[str, ...]) -> str:
        CHAIN.set(chain)
        return Loops(own).request_field

    first = contextvars.copy_context().run(sent_by, ME, ())
    assert chain_of([first]) == (ME,)
    second = contextvars.copy_context().run(sent_by, OTHER, chain_of([first]))
    assert chain_of([second]) == (ME, OTHER)
    assert CHAIN.get() == ()


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([], ()),
        (["", "cloudflare; loops=1", "fastly"], ()),
        ([f"cdn.example; x=1, sstream-proxy-{ME}", f"sstream-proxy-{OTHER}; a=b"], (ME, OTHER)),
        ([f"sstream-proxy-{ME}0", "sstream-proxy-xyz", f"SSTREAM-PROXY-{ME}", f"{ME}"], ()),
        (["x" * 5000 + f", sstream-proxy-{ME}"], ()),
    ],
)
def test_of_what_others_send_only_what_is_a_proxys_counts(fields: list[str], found: tuple[str, ...]) -> None:
    assert chain_of(fields) == found


def test_a_request_of_ones_own_is_refused_and_one_through_too_many() -> None:
    loops = Loops(ME)
    loops.check((OTHER, THIRD), "m")
    with pytest.raises(LoopDetected, match=r"this proxy's own.*the mirror m .*\[upstream\] resolve"):
        loops.check((OTHER, ME, THIRD), "m")
    with pytest.raises(LoopDetected, match="more than 10"):
        loops.check((OTHER,) * 11, "m")


def test_a_circle_is_known_by_what_replies_say_is_behind_each_mirror() -> None:
    loops = Loops(ME)
    assert not loops.is_circle((OTHER,), "m")
    loops.behind("m").learn(f"1.1 sstream-proxy-{OTHER}, 1.1 sstream-proxy-{THIRD}, 1.0 squid")
    assert loops.is_circle((OTHER,), "m")
    assert loops.is_circle(("b" * 16, THIRD), "m")
    assert not loops.is_circle((OTHER,), "another")
    assert chain_of([loops.reply_field("m")]) == (ME, OTHER, THIRD)


def test_what_is_behind_is_bounded() -> None:
    behind = Behind()
    behind.learn(None)
    behind.learn("1.1 varnish")
    for number in range(100):
        behind.learn(f"1.1 sstream-proxy-{number:016x}")
    assert len(list(behind)) == 10
    assert f"{99:016x}" in behind
