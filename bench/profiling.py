"""Profiles of our own server while a scenario runs, by py-spy if it is asked for: one SVG a server."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_FOLDER = "BENCH_PROFILE"
"""The environment variable that names the folder; none, no profiles."""
_SAMPLES_PER_S = 200
_WRITING_S = 60.0


def keep_profiles(folder: Path) -> None:
    """Profile every server of ours from now on. Raises SystemExit without py-spy."""
    if _py_spy() is None:
        raise SystemExit("py-spy is not installed: pip install py-spy")
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[_FOLDER] = str(folder.resolve())


@contextlib.contextmanager
def profiled(pid: int) -> Iterator[None]:
    """Profile a process and its children, if profiles are kept."""
    folder, py_spy = os.environ.get(_FOLDER), _py_spy()
    if folder is None or py_spy is None:
        yield
        return
    file = Path(folder) / f"sstream-proxy-{pid}.svg"
    command = [py_spy, "record", "--subprocesses", "--native", "--rate", str(_SAMPLES_PER_S)]
    with subprocess.Popen(
        [*command, "--output", str(file), "--pid", str(pid)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(_WRITING_S)
    if file.exists():
        print(f"# profile: {file}")


def _py_spy() -> str | None:
    return shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
