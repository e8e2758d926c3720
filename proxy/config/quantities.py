"""Times, sizes and rates, as people write them: "1h30m", "64 KiB", "50 Mbit/s". Pure."""

import math
import re
from fractions import Fraction

from proxy.config.wording import found

_SECONDS = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
_NUMBER = r"[0-9]{1,19}(?:\.[0-9]{1,9})?"
_DURATION_PART = re.compile(rf"\s*({_NUMBER})\s*(ms|s|m|h|d)\s*")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+|\s*({_NUMBER})\s*")
_LONGEST_S = 3650 * 86400

_DECIMAL = {"kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4}
_BINARY = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_BYTES = {"": 1, "B": 1, **_DECIMAL, **_BINARY}
_SIZE = re.compile(rf"\s*({_NUMBER})\s*({'|'.join(_BYTES)})\s*")
_LARGEST_BYTES = 1024**6

_BITS = {"k": 1000, "M": 1000**2, "G": 1000**3}
_BIT_RATE = re.compile(rf"\s*({_NUMBER})\s*({'|'.join(_BITS)})(?:bit|bit/s|bps)\s*")

A_DURATION = 'a time such as "300ms", "15s", "5m" or "1h30m", at most "3650d"'
A_SIZE = 'a size such as "64 KiB", "200 GiB" or "10 GB", less than 1 EiB'
A_RATE = 'a rate such as "6 MB" or "512 KiB", which are bytes a second, or "50 Mbit/s"'


def parse_duration(raw: object) -> float:
    """Return seconds from "300ms", "5m", "1h30m" or a number of seconds.

    Raises ValueError for anything else, for less than nothing and for more
    than ten years.
    """
    seconds = _as_seconds(raw)
    if seconds is None or not 0 <= seconds <= _LONGEST_S:
        raise ValueError(f"write {A_DURATION}, not {found(raw)}")
    return float(seconds)


def parse_size(raw: object) -> int:
    """Return bytes from "64 KiB" (1024s), "10GB" (1000s) or a whole number of bytes.

    Raises ValueError for anything else, for less than nothing and for an
    exbibyte or more.
    """
    match = _SIZE.fullmatch(raw) if isinstance(raw, str) else None
    size = int(Fraction(match[1]) * _BYTES[match[2]]) if match else raw
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < _LARGEST_BYTES:
        raise ValueError(f"write {A_SIZE}, not {found(raw)}")
    return size


def parse_rate(raw: object) -> int:
    """Return bytes a second from "50 Mbit/s", "6 MB/s", or a size as `parse_size` reads it.

    Raises ValueError for anything else, for less than nothing and for an exbibyte or more.
    """
    match = _BIT_RATE.fullmatch(raw) if isinstance(raw, str) else None
    if match:
        return int(Fraction(match[1]) * _BITS[match[2]] / 8)
    try:
        return parse_size(raw.strip().removesuffix("/s") if isinstance(raw, str) else raw)
    except ValueError:
        raise ValueError(f"write {A_RATE}, not {found(raw)}") from None


def _as_seconds(raw: object) -> Fraction | None:
    if isinstance(raw, str) and (match := _DURATION.fullmatch(raw)):
        if match[3]:
            return Fraction(match[3])
        return sum((Fraction(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(raw)), Fraction())
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return Fraction(raw) if isinstance(raw, int) or math.isfinite(raw) else None
    return None
