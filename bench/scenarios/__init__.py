"""The scenarios: modules whose docstring says what happens, with `measure(effort)`, which yields findings."""

from types import ModuleType

from scenarios import cold, first_byte, herd, large, ranges, slow, small, tls, workers

SCENARIOS: dict[str, ModuleType] = {
    "small": small,
    "large": large,
    "ranges": ranges,
    "slow": slow,
    "cold": cold,
    "herd": herd,
    "first_byte": first_byte,
    "workers": workers,
    "tls": tls,
}
