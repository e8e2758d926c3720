"""What of a configuration can be read, and cannot do on this machine what its writer means by it.

All functions block, and yield texts that hold no secret and say what to do.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from proxy.config.config import Config
from proxy.config.keyrings import keyring_files
from proxy.errors import ProxyError
from proxy.readable import duration, size
from proxy.signatures.keyring import Keyring
from proxy.system.file_systems import total_bytes

_MAAS_PATIENCE_S = 10.0
"""MAAS gives up when it gets nothing for longer."""


def disk_faults(config: Config) -> Iterator[str]:
    """Yield why nothing could ever be stored; nothing to a user who may not look there."""
    try:
        disk_bytes = total_bytes(config.data_dir)
    except OSError:
        return  # Whoever has to store there says so.
    if config.cache.min_free_bytes >= disk_bytes:
        yield (
            f"cache.min_free: is {size(config.cache.min_free_bytes)}, and the whole disk that holds "
            f"{config.data_dir} has {size(disk_bytes)}, so that nothing could be stored: write less"
        )


def hasty_clients(config: Config) -> Iterator[str]:
    """Yield which waits are longer than clients wait."""
    waits_s = {
        "upstream.connect_timeout": config.upstream.connect_timeout_s,
        "upstream.stall_timeout": config.upstream.stall_timeout_s,
        "feed.drip_interval": config.feed.drip_interval_s,
    }
    for key, wait_s in waits_s.items():
        if wait_s >= _MAAS_PATIENCE_S:
            yield (
                f"{key} is {duration(wait_s)}, and MAAS gives up after {duration(_MAAS_PATIENCE_S)} of "
                "silence, before anything else is tried: write less"
            )


def idle_limits(config: Config) -> Iterator[str]:
    """Yield which limits of bytes a second change nothing, because another one is lower."""
    whole, background = config.upstream.limit_bytes_s, config.upstream.background_limit_bytes_s
    mirrors = {f'mirror "{one.name}": limit': one.limit_bytes_s for one in config.mirrors}
    rules = {f'prefetch "{one.name}": limit': one.limit_bytes_s for one in config.prefetch}
    above = {"upstream.limit": whole}
    yield from _above("upstream.background_limit", background, above)
    for key, limit in mirrors.items():
        yield from _above(key, limit, above)
    for key, limit in rules.items():
        yield from _above(key, limit, {**above, "upstream.background_limit": background})


def _above(key: str, limit: int | None, others: dict[str, int | None]) -> Iterator[str]:
    """Yield what is wrong with a limit that is above the lowest of others, which hold as well."""
    known = {name: other for name, other in others.items() if other is not None}
    lowest = min(known, key=known.__getitem__, default=None)
    if limit is not None and lowest is not None and limit > known[lowest]:
        yield (
            f"{key} is {size(limit)} a second, and {lowest} is {size(known[lowest])}, which holds: "
            "write less, or remove the line"
        )


def try_keyrings(config: Config) -> tuple[list[str], list[str]]:
    """Open each keyring as a server would; return what keeps some from being used, and what is odd of others.

    Raises OSError when there is no temporary folder to do that in.
    """
    faults, oddities = [], []
    files = {f'mirror "{name}"': file for name, file in keyring_files(config).items()}
    if config.bundles.keyring is not None:
        files["[bundles]"] = config.bundles.keyring
    with tempfile.TemporaryDirectory(prefix="sstream-proxy-") as folder:
        for path in sorted(set(files.values())):
            names = " and ".join(name for name, file in files.items() if file == path)
            try:
                found = Keyring.open(path, Path(folder)).oddities
            except ProxyError as error:
                faults.append(f"{names}: {error}")
            else:
                oddities += [f"{names}: keyring {path}: {oddity}" for oddity in found]
    return faults, oddities
