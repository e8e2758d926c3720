"""Whether an installed `sstream-proxy` works where there is no checkout: commands, server, dashboard.

python packaging/try_program.py PATH/OF/sstream-proxy
"""

import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PAGES = {
    "/": b"sstream-proxy",
    "/-/": b"/-/static/dashboard.css",
    "/-/static/dashboard.css": b"{",
    "/-/static/dashboard.js": b"dataset.every",
    "/-/static/icon.svg": b"<svg",
    "/-/live": b"maas-stable",
    "/-/plots/bytes.svg": b"<svg",
    "/-/stats": b'"sstream-proxy-stats:1"',
    "/-/metrics": b"# HELP",
    "/-/health": b"",
    "/-/api/v1/openapi.json": b'"openapi"',
}
"""Every kind of file that the package has to bring, with something that must be in the reply."""


@contextmanager
def serving(program: str, folder: Path) -> Iterator[str]:
    """Run the server, offline, on a free port of loopback; yield its address."""
    command = [program, "serve", "--offline", "--listen", "127.0.0.1:0"]
    environment = {**os.environ, "STATE_DIRECTORY": str(folder / "state")}
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            line = next((line for line in process.stdout if "listening on" in line), "")
            if not line:
                raise SystemExit(f"the server does not start:\n{(folder / 'log').read_text()}")
            yield line.split("listening on")[1].split(",")[0].strip()
        finally:
            process.terminate()
            process.communicate(timeout=60)


def main(program: str) -> int:
    """Try everything; return the exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arguments in (["--version"], ["check-config"]):
            done = subprocess.run(
                [program, *arguments], cwd=folder, check=True, capture_output=True, text=True
            )
            print(f"sstream-proxy {' '.join(arguments)}: {done.stdout.strip().splitlines()[0]}")
        with serving(program, folder) as base:
            for path, wanted in _PAGES.items():
                with urllib.request.urlopen(base + path, timeout=20) as reply:  # noqa: S310 - our own address
                    body = reply.read()
                if wanted not in body:
                    print(f"{path}: {wanted!r} is not in {body[:200]!r}")
                    return 1
                print(f"{path}: {len(body)} bytes")
    print("the installed program works")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1])))  # noqa: PTH100 - a link in a venv must stay one
