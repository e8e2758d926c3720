"""What of the machine around the proxy is not as its owner may believe: warnings, not faults."""

from collections.abc import Iterator, Mapping

from proxy.jobs.local_time import unknown_zone

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


def oddities(environ: Mapping[str, str], parent_proxy: str) -> Iterator[str]:
    """Yield warnings that say what to do, and hold no secret. Blocks."""
    yield from _unused_proxies(environ, parent_proxy)
    if zone := unknown_zone(environ):
        yield (
            f"TZ={ascii(zone)[1:-1]} names no time zone of this machine, so schedules and windows "
            "count in UTC: correct it, or install tzdata"
        )


def _unused_proxies(environ: Mapping[str, str], parent_proxy: str) -> Iterator[str]:
    """Yield what is to be said of a proxy that other programs use here, and this one does not."""
    named = [name for name, value in environ.items() if name.lower() in _PROXY_VARIABLES and value.strip()]
    if named and not parent_proxy:
        verb = "are" if len(named) > 1 else "is"
        yield (
            f"{' and '.join(sorted(named))} {verb} set in the environment, but not used here: "
            "if origins are reached through that proxy only, write it into [upstream] parent_proxy"
        )
