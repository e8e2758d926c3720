"""How many files this process may have open."""

import resource

_MOST = 65536
"""More would only cost: some programs close all that there might be."""


def most_open_files() -> int:
    """Return how many files may be open, once the process was given all that it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = _MOST if hard == unlimited else min(hard, _MOST)
    if soft != unlimited and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return _MOST if soft == unlimited else soft
