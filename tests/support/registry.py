"""A registry such as sites have, Debian's docker-registry, and skopeo, which copies into it and out of it."""

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_CONFIG = """\
version: 0.1
log: {{level: info}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:0"}}
"""
_LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")

needs_registry = pytest.mark.skipif(
    not (shutil.which("skopeo") and shutil.which("docker-registry")),
    reason="needs skopeo and docker-registry: apt-get install skopeo docker-registry",
)


class Registry:
    """A registry that listens on a loopback address."""

    def __init__(self, address: str) -> None:
        self.address = address

    def name(self, repository: str, tag: str) -> str:
        """Return how skopeo names what it has."""
        return f"docker://{self.address}/{repository}:{tag}"


@contextmanager
def run_registry(folder: Path) -> Iterator[Registry]:
    """Run a registry without TLS."""
    folder.mkdir()
    config = folder / "config.yml"
    config.write_text(_CONFIG.format(root=folder / "blobs"))
    command = ["docker-registry", "serve", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        try:
            said: list[str] = []
            found = None
            while found is None and (line := process.stderr.readline()):
                said.append(line)
                found = _LISTENING.search(line)
            assert found is not None, "".join(said)
            # What it says later has to go somewhere, or it would wait for a reader.
            drain = threading.Thread(target=process.stderr.read)
            drain.start()
            try:
                yield Registry(found[1])
            finally:
                process.terminate()
                drain.join()
        finally:
            process.kill()


def skopeo(command: str, *arguments: str | Path, code: int = 0) -> str:
    """Run skopeo as a site would whose registry has no TLS; return what it says."""
    no_tls = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    line = ["skopeo", "--insecure-policy", command, *no_tls, *map(str, arguments)]
    done = subprocess.run(line, check=False, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stderr
