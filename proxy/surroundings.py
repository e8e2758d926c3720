"""What of the machine around the proxy is not as its owner may believe: warnings, not faults."""

from collections.abc import Iterator, Mapping

from proxy.jobs.local_time import unknown_zone


def oddities(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield warnings that say what to do. Blocks."""
    if zone := unknown_zone(environ):
        yield (
            f"TZ={ascii(zone)[1:-1]} names no time zone of this machine, so schedules and windows "
            "count in UTC: correct it, or install tzdata"
        )
