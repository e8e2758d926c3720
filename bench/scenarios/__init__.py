"""The scenarios: modules whose docstring says what happens, with `measure(effort)`, which yields findings.

`NEEDS` names programs without which one cannot run, `BESIDE` those without which it has fewer rows.
"""

from types import ModuleType

from scenarios import (
    carry,
    cold,
    cold_cache,
    cold_https,
    first_byte,
    herd,
    large,
    limit,
    pause,
    prefetch,
    ranges,
    segments,
    slow,
    small,
    spread,
    start,
    tls,
    workers,
)

SCENARIOS: dict[str, ModuleType] = {
    "small": small,
    "large": large,
    "ranges": ranges,
    "slow": slow,
    "cold": cold,
    "cold_https": cold_https,
    "herd": herd,
    "first_byte": first_byte,
    "workers": workers,
    "spread": spread,
    "start": start,
    "tls": tls,
    "pause": pause,
    "cold_cache": cold_cache,
    "prefetch": prefetch,
    "segments": segments,
    "limit": limit,
    "carry": carry,
}
