"""The one place where any exception of a request becomes an OriginError.

aiohttp and its parsers read what strangers wrote, so that they may raise any exception.
Here it becomes the failure of that origin, and another origin can be asked.
"""

import contextlib
from collections.abc import Callable, Iterator

from aiohttp import ClientConnectorError, ClientError, ClientHttpProxyError, ConnectionTimeoutError

from proxy.errors import ProxyError
from proxy.sources.errors import OriginError, OriginGarbled, OriginMisbehaved, OriginUnreachable
from proxy.sources.http.errors import OriginHungUp, ParentProxyRefused
from proxy.sources.http.reasons import cause_of, explain
from proxy.sources.http.sessions import BadHead, UnendedBody


@contextlib.contextmanager
def border(origin: str, failed: Callable[[], None], doing: str = "", after: str = "") -> Iterator[None]:
    """Turn any error within into the origin's; `failed` is told of those that were none yet.

    It is not told of faults of this machine, which say nothing of the origin. Cancelling passes.
    The sentence that says what went wrong stands between `doing` and `after`.
    """
    try:
        yield
    except OriginError:
        raise
    except Exception as error:
        translated = _translated(origin, error, doing, after)
        if translated.cause != "machine":
            failed()
        raise translated from error


def _translated(origin: str, error: Exception, doing: str, after: str) -> OriginError:
    if isinstance(error, BadHead):
        return OriginGarbled(origin, str(error) + after)
    if isinstance(error, ProxyError):
        return OriginMisbehaved(origin, str(error) + after)
    if not isinstance(error, (ClientError, OSError)):
        return OriginMisbehaved(origin, f"its answer cannot be read: {type(error).__name__}: {error}{after}")
    if isinstance(error, ClientHttpProxyError):
        return ParentProxyRefused(origin, explain(error))
    was_connected = not isinstance(error, (ClientConnectorError, ConnectionTimeoutError))
    kind = OriginHungUp if was_connected else OriginUnreachable
    problem = str(error) if isinstance(error, UnendedBody) else explain(error)
    return kind(origin, doing + problem + after).due_to(cause_of(error))
