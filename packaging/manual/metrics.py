"""Facts of the metrics: what `/-/metrics` of a proxy that has just been started describes."""

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import Metric

from proxy.config.config import Config
from proxy.config.load import load_config
from proxy.reporting.metrics import families
from proxy.runtime import open_observer, open_runtime


@dataclass(frozen=True, slots=True)
class Described:
    """A metric as it is scraped."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


def metrics() -> list[Described]:
    """Return all metrics in the order in which they are scraped."""
    with tempfile.TemporaryDirectory() as folder:
        config = load_config(None, {}, overrides={"data_dir": Path(folder), "offline": True})
        return asyncio.run(_of_new_cache(config))


async def _of_new_cache(config: Config) -> list[Described]:
    async with open_runtime(config) as cache:
        observer = await open_observer(config, cache, time.time)
        return [_described(family) for family in families(await observer.snapshot())]


def _described(family: Metric) -> Described:
    labels = getattr(family, "_labelnames", ())
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Described(name, family.type, tuple(labels), family.documentation)
