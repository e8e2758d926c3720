"""The scenarios: modules whose docstring says what happens, with `measure(effort)`, which yields findings.

`NEEDS` names programs without which one cannot run.
"""

from types import ModuleType

from scenarios import (
    cold,
    cold_cache,
    first_byte,
    herd,
    large,
    pause,
    prefetch,
    ranges,
    slow,
    small,
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
    "herd": herd,
    "first_byte": first_byte,
    "workers": workers,
    "start": start,
    "tls": tls,
    "pause": pause,
    "cold_cache": cold_cache,
    "prefetch": prefetch,
}
