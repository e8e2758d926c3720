"""sstream-proxy, as it is installed in the Python that runs the bench."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from processes import Server, free_port, running
from profiling import profiled


@contextlib.contextmanager
def ours(
    work: Path, upstream: str, keyring: Path, workers: int = 1, options: str = "", scheme: str = "http"
) -> Iterator[Server]:
    """Run sstream-proxy in front of `upstream`, with its store below `work`; `options` is further TOML."""
    port = free_port()
    config = write_config(work, upstream, keyring, port, workers, options)
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    with running(command, port) as pid, profiled(pid):
        yield Server("sstream-proxy", f"{scheme}://127.0.0.1:{port}/m/", pid)


def write_config(
    work: Path, upstream: str, keyring: Path, port: int = 0, workers: int = 1, options: str = ""
) -> Path:
    """Write a configuration of ours, with the data below `work`, and return its path."""
    config = work / "config.toml"
    config.write_text(
        f'listen = ["127.0.0.1:{port}"]\ndata_dir = "{work}/data"\nworkers = {workers}\n'
        f'[cache]\nmin_free = "0 B"\n[log]\nlevel = "warning"\n{options}\n'
        f'[[mirror]]\nname = "bench"\nmount = "/m/"\norigins = ["{upstream}"]\nkeyring = "{keyring}"\n'
    )
    return config
