"""A cache in which a command may do what it would do, so that it can tell what that comes to."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from proxy.config.config import Config
from proxy.jobs.importing.apart import copy_known
from proxy.runtime import open_runtime
from proxy.service.cache import Cache
from proxy.sources.carried.import_origin import ImportOrigin
from proxy.store.files import StoreFault


@contextlib.asynccontextmanager
async def open_apart(
    config: Config, origins: Mapping[str, ImportOrigin], asked_offline: Collection[str] = ()
) -> AsyncIterator[Cache]:
    """Open a copy of what the cache knows, without its items, in a folder that is removed again.

    `origins` and `asked_offline` are those of `open_runtime`.
    Raises StoreFault, also where what is done in the copy does, with both folders that may be to blame.
    """
    with tempfile.TemporaryDirectory(prefix="sstream-proxy-") as folder:
        apart = Path(folder)
        try:
            _copy(config.data_dir, apart)
            copied = replace(config, data_dir=apart)
            async with open_runtime(copied, carried=origins, asked_offline=asked_offline) as cache:
                yield cache
        except StoreFault as fault:
            raise StoreFault(
                f"an import is rehearsed in {apart}, in a copy of what {config.data_dir} knows, "
                f"and that fails: {fault}; $TMPDIR names another folder for the copy"
            ) from fault


def _copy(data_dir: Path, apart: Path) -> None:
    try:
        copy_known(data_dir, apart)
    except OSError as error:
        raise StoreFault(str(error)) from error
