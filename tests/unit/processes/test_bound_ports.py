"""What a person reads of an address that cannot be bound."""

import errno

import pytest

from proxy.processes.bound_ports import CannotListen


@pytest.mark.parametrize(
    ("port", "number", "is_told"),
    [(80, errno.EACCES, True), (80, errno.EADDRINUSE, False), (8080, errno.EACCES, False)],
)
def test_who_may_bind_a_low_port_is_told_where_that_is_the_matter(
    port: int, number: int, is_told: bool
) -> None:
    told = str(CannotListen.of(("127.0.0.1", port), OSError(number, "")))

    assert told.startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert ("CAP_NET_BIND_SERVICE" in told) == is_told
    assert told.endswith("choose another: listen or [admin] listen in the configuration, or --listen")
