"""The keeper's part of what was imported and waits: it is served once it is complete."""

import time
from collections.abc import Sequence

from proxy.jobs.audit import Audit
from proxy.jobs.importing.audited import write_down
from proxy.jobs.importing.importing import Import, Order
from proxy.jobs.importing.outcomes import Report
from proxy.jobs.importing.trust import Operators
from proxy.processes.loaded_config import LoadedConfig
from proxy.progress import Unwatched
from proxy.runtime import open_runtime
from proxy.sources.carried.import_origin import ImportOrigin

_BY = "server"


async def serve_waiting(loaded: LoadedConfig, mirrors: Sequence[str]) -> None:
    """Serve what waits of some mirrors and is complete, as `import --waiting` does, and write it down.

    It has a runtime of its own, in which the lists that are here take the place of the origins.
    """
    config = loaded.config
    origins = {one.name: ImportOrigin() for one in config.mirrors}
    trusts = {one.name: one.trust for one in config.mirrors}
    report = Report()
    async with open_runtime(config, time.time, loaded.keyrings, carried=origins) as cache:
        order = Order(hold_s=config.freshness.retain_s)
        importing = Import(cache, origins, Operators(keyring=None, trusts=trusts), order, Unwatched(), report)
        try:
            await importing.resume(mirrors)
        finally:
            audit = Audit(cache.storage.threads, config.data_dir, _BY)
            await write_down(audit, report, accepts_older=False)
