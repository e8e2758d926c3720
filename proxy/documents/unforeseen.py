"""Unforeseen errors, reported as problems: no crash may stop the checks of a mirror for good."""

import contextlib
import traceback
from collections.abc import Iterator

from proxy.errors import ProxyError
from proxy.sources.errors import OriginMisbehaved
from proxy.store.files import StoreFault


class UnforeseenError(ProxyError):
    """An error that nobody foresaw, and where it came from."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"an unforeseen error, please report it: {described(error)}")


def described(error: Exception) -> str:
    """Return what an error says and where it was raised, on one line."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" in {frame.filename.rpartition('/')[2]} line {frame.lineno}" for frame in last)
    return f"{type(error).__name__}: {error!s:.200}{where}"


@contextlib.contextmanager
def blamed_on(origin: str) -> Iterator[None]:
    """Blame an unforeseen error on the origin whose reply was being read, so that another one is asked.

    Errors of the disk are not the origin's.
    """
    try:
        yield
    except ProxyError:
        raise
    except OSError as error:
        raise StoreFault.of("the disk failed", error) from error
    except Exception as error:
        raise OriginMisbehaved(origin, f"its answer cannot be dealt with: {described(error)}") from error
