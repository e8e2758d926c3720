"""sstream-proxy as it is installed in the Python that runs the bench, its log read as a journal would.

What differs from the configuration as installed is a list of switches, and the file is written from it.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from journal import journal
from processes import Server, free_port, running
from profiling import profiled
from remarks import Switch, note_switches

from servers.names import NO_LOG, OURS

ONE_WORKER = Switch("workers", "1", '"auto"', "one worker of every server on one CPU")
_OF_MIRROR = "mirror."
"""What the names of settings of the mirror itself begin with."""
_WITHOUT_LOG = Switch("log.level", '"warning"', '"info"', "the row without an access log")


@contextlib.contextmanager
def ours(
    work: Path,
    origins: Sequence[str],
    keyring: Path,
    *,
    options: Sequence[Switch] = (),
    scheme: str = "http",
    access_log: bool = True,
    authority: Path | None = None,
) -> Iterator[Server]:
    """Run sstream-proxy in front of a mirror's origins, with its store below `work`.

    `authority` is the one that signed the certificates of https origins.
    """
    port = free_port()
    name = OURS if access_log else OURS + NO_LOG
    switches = options if access_log else (*options, _WITHOUT_LOG)
    note_switches(name, switches)
    config = write_config(work, origins, keyring, port, switches)
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    trust = {} if authority is None else {"SSL_CERT_FILE": str(authority)}
    with (
        journal() as log,
        running(command, port, log.environment | trust, stderr=log.stream.fileno()) as pid,
        profiled(pid),
    ):
        yield Server(name, f"{scheme}://127.0.0.1:{port}/m/", pid)


def write_config(
    work: Path, origins: Sequence[str], keyring: Path, port: int = 0, switches: Sequence[Switch] = ()
) -> Path:
    """Write a configuration of ours, with the data below `work`, and return its path."""
    config = work / "config.toml"
    lines = [f'listen = ["127.0.0.1:{port}"]', f'data_dir = "{work}/data"']
    lines += [f"{one.setting} = {one.value}" for one in switches if not one.setting.startswith(_OF_MIRROR)]
    lines += ["[[mirror]]", 'name = "bench"', 'mount = "/m/"', f'keyring = "{keyring}"']
    lines += [f"origins = {json.dumps(list(origins))}"]
    lines += [
        f"{one.setting.removeprefix(_OF_MIRROR)} = {one.value}"
        for one in switches
        if one.setting.startswith(_OF_MIRROR)
    ]
    config.write_text("\n".join(lines) + "\n")
    return config
