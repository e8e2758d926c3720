"""What a trial inside a distribution is made of: commands that must succeed, things that must hold, and apt.

Needs Python's own library and nothing else.
"""

import subprocess
from pathlib import Path

DATA = Path("/var/lib/sstream-proxy")
CONFIGURATION = Path("/etc/sstream-proxy/config.toml")
PROGRAM = Path("/usr/lib/sstream-proxy")
USER = "sstream-proxy"
TREE = Path("/srv/tree")
KEYRING = Path("/etc/sstream-proxy/test-keyring.gpg")


def step(what: str) -> None:
    """Tell what comes now."""
    print(f"== {what}", flush=True)


def expect(holds: bool, otherwise: object) -> None:
    """End everything where something does not hold."""
    if not holds:
        raise SystemExit(f"not as it should be: {otherwise}")


def run(*command: str) -> str:
    """Run a command; return what it told, on both streams. A failure ends everything."""
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def apt(action: str, *names: str) -> str:
    """Install, remove or purge; return what was told. Of a configuration that was changed, ours is kept."""
    options = ["-y", "-q", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"]
    return run("apt-get", action, *options, *names)


def version(package: str) -> str:
    """Return the version of a package's file."""
    return run("dpkg-deb", "--field", package, "Version").strip()


def installed() -> str:
    """Return the version that is installed."""
    return run("dpkg-query", "--showformat", "${Version}", "--show", "sstream-proxy").strip()
