"""Asking for a mirror's index by the URL that a client is to use, before the client is changed."""

import os
from typing import NamedTuple

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
)

from proxy.connect.addresses import without_password

_TIMEOUT_S = 30.0
_INDEX = "streams/v1/index.sjson"
_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403


class Trial(NamedTuple):
    """What came of it."""

    is_good: bool
    problem: str = ""
    """What to report; a trial that failed here may be good for others."""


async def try_mirror(url: str) -> Trial:
    """Ask for the index of the mirror at a URL."""
    shown = without_password(url)
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=_TIMEOUT_S)) as session,
            session.get(url.rstrip("/") + f"/{_INDEX}", allow_redirects=False) as response,
        ):
            status = response.status
    except (ClientConnectorCertificateError, ClientSSLError):
        return Trial(
            False,
            f"the certificate at {shown} is by no authority that this machine trusts; MAAS reads the lists "
            "only when its region controllers do",
        )
    except (ClientError, OSError, ValueError) as error:
        return Trial(
            False, f"nothing answers at {shown} ({_reason(error)}): does the proxy run, and listen there?"
        )
    if status == _OK:
        return Trial(True)
    if status == _FORBIDDEN:
        return Trial(
            True, f"{shown} is not for this machine (HTTP 403): whether it is for MAAS, `allow` says"
        )
    if status == _UNAUTHORIZED:
        return Trial(
            False,
            f"{shown} wants a password: give the whole URL, http://USER:PASSWORD@HOST/..., in "
            "$SSTREAM_PROXY_URL",
        )
    return Trial(False, f"{shown} answers HTTP {status} for its index: `sstream-proxy stats` tells why")


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return f"no reply within {_TIMEOUT_S:.0f} seconds"
        case ClientConnectorError(os_error=OSError(errno=int(number))) if number > 0:
            return os.strerror(number)  # aiohttp's own text has the address once more.
        case _:
            return str(error)
