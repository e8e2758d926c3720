"""The scenarios: modules whose docstring says what happens, with `measure(effort)`, which yields findings."""

from types import ModuleType

from scenarios import cold, first_byte, large, ranges, small

SCENARIOS: dict[str, ModuleType] = {
    "small": small,
    "large": large,
    "ranges": ranges,
    "cold": cold,
    "first_byte": first_byte,
}
