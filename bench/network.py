"""A network of the bench's own: nothing but loopback, and the same TCP on every machine.

BBR, which some machines have as their default, paces what it sends by its guess
at the link. On loopback that guess costs a server up to a half more CPU time,
another share in every run; so CUBIC, the default of Linux, is used where the
bench may choose: in a network namespace (network_namespaces(7)), which takes root.
Where that is not among those allowed there, Reno is, which paces nothing either.
Where nothing may be chosen, as in most containers, things stay as they are, and
the results say what that is.
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_UNPACED = ("cubic", "reno")
_CONGESTION_CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")
_LONGEST_NAME_BYTES = 16


def isolate() -> None:
    """Enter a network namespace of our own, with all processes to come, if that is allowed here."""
    if not _enter_own_namespace():
        return
    for one in _UNPACED:
        with contextlib.suppress(OSError):
            _CONGESTION_CONTROL.write_text(one)
            return


def describe() -> str:
    """Return what TCP the servers use."""
    is_alone = len(socket.if_nameindex()) == 1
    where = "in a network namespace with nothing but loopback" if is_alone else "in the machine's own network"
    return f"TCP with {_congestion_control()}, {where}"


def _enter_own_namespace() -> bool:
    """Return whether there is a new network with a loopback that works; otherwise all is as before."""
    libc = ctypes.CDLL(None)
    try:
        before = os.open("/proc/self/ns/net", os.O_RDONLY)
    except OSError:
        return False
    try:
        if libc.unshare(_CLONE_NEWNET) != 0:
            return False
        try:
            _raise_loopback()
        except OSError:
            # Who may make a network, but not configure it, goes back to the old one.
            if libc.setns(before, _CLONE_NEWNET) != 0:
                raise
            return False
        return True
    finally:
        os.close(before)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _congestion_control() -> str:
    """Return what a new connection has; not from /proc/sys, which some containers do not have."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        name = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _LONGEST_NAME_BYTES)
    return name.rstrip(b"\0").decode()
