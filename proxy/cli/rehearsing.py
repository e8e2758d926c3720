"""A cache in which a command may do what it would do, so that it can tell what that comes to."""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

from proxy.config.config import Config
from proxy.jobs.importing.apart import copy_known
from proxy.runtime import open_runtime
from proxy.service.cache import Cache
from proxy.sources.carried.import_origin import ImportOrigin


@contextlib.asynccontextmanager
async def open_apart(config: Config, origins: Mapping[str, ImportOrigin]) -> AsyncIterator[Cache]:
    """Open a copy of what the cache knows, without its items, in a folder that is removed again."""
    with tempfile.TemporaryDirectory(prefix="sstream-proxy-") as folder:
        apart = Path(folder)
        copy_known(config.data_dir, apart)
        async with open_runtime(replace(config, data_dir=apart), carried=origins) as cache:
            yield cache
