"""Whether the Debian package works: run as root in a chroot of a distribution, by try_deb.py.

python3 deb_trial.py OLDER.deb PACKAGE.deb

Installs the older one, fetches as root from an origin on loopback, serves, upgrades, downgrades, removes
and purges; after each step looks at what is there. Needs Python's own library, gpg, and nothing else.
"""

import hashlib
import http.server
import json
import os
import pwd
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

DATA = Path("/var/lib/sstream-proxy")
CONFIGURATION = Path("/etc/sstream-proxy/config.toml")
PROGRAM = Path("/usr/lib/sstream-proxy")
USER = "sstream-proxy"
ITEM = "noble/amd64/20260102/squashfs"
IMAGE = os.urandom(3_000_000)
_UNITS = {
    "sstream-proxy.service",
    "sstream-proxy.socket",
    "sstream-proxy-admin.socket",
    "sstream-proxy-sync.service",
    "sstream-proxy-sync.timer",
}
_TREE = Path("/srv/tree")
_KEYRING = Path("/etc/sstream-proxy/test-keyring.gpg")
_ASK_TO_REMOVE = Path("/etc/sstream-proxy/remove-data-on-purge")


def main(older: str, package: str) -> int:
    """Go through the life of a package; return the exit code."""
    make_tree()
    with origin() as url:
        step("install")
        apt("install", older)
        check_installed()
        CONFIGURATION.write_text(CONFIGURATION.read_text() + mirror(url))
        step("prefetch as root")
        told = run("sstream-proxy", "prefetch", "ftype=squashfs")
        expect(f"going on as {USER}" in told, told)
        check_owner()
        step("serve, as root and as the service's user")
        check_serving("sstream-proxy", "serve")
        check_serving("runuser", "-u", USER, "--", "sstream-proxy", "serve")
    # The origin has gone: what is served now was kept.
    step("upgrade")
    before = CONFIGURATION.read_text()
    apt("install", package)
    expect(installed() == version(package), installed())
    check_kept(before)
    step("downgrade")
    apt("install", "--allow-downgrades", older)
    expect(installed() == version(older), installed())
    check_kept(before)
    step("remove")
    apt("remove", "sstream-proxy")
    expect(not PROGRAM.exists(), [str(path) for path in PROGRAM.rglob("*")])
    expect(CONFIGURATION.read_text() == before, "the configuration is gone")
    expect((DATA / "ledger").is_dir(), "the images are gone")
    step("purge: the images stay")
    _KEYRING.unlink()
    told = apt("purge", "sstream-proxy")
    expect(f"images stay in {DATA}" in told, told)
    expect((DATA / "ledger").is_dir(), "the images are gone")
    expect(not CONFIGURATION.parent.exists(), "the configuration is still there")
    step("install again, and purge with the images, as asked for")
    apt("install", package)
    check_owner()
    _ASK_TO_REMOVE.touch()
    apt("purge", "sstream-proxy")
    expect(left() == [], left())
    step("install for the first time, and purge what was never used")
    apt("install", package)
    apt("purge", "sstream-proxy")
    expect(left() == [], left())
    print("the package works")
    return 0


def check_installed() -> None:
    """Look at all that a new installation brings."""
    user = pwd.getpwnam(USER)
    mode = f"{DATA.stat().st_mode & 0o777:o}"
    expect((DATA.stat().st_uid, mode) == (user.pw_uid, "700"), f"{DATA} has the mode {mode}")
    run("sstream-proxy", "check-config")
    run("sstream-proxy", "--version")
    for page in ("sstream-proxy.1", "sstream-proxy-prefetch.1", "sstream-proxy-config.5"):
        told = run("man", "--warnings", "--local-file", f"/usr/share/man/man{page[-1]}/{page}.gz")
        expect("sstream-proxy" in told and "warning: " not in told, told)
    run("bash", "-ec", ". /usr/share/bash-completion/completions/sstream-proxy; complete -p sstream-proxy")
    compiled = list(PROGRAM.glob("lib/python3.*/site-packages/proxy/__pycache__/__main__.*.pyc"))
    expect(len(compiled) == 1, compiled)
    enabled = Path("/etc/systemd/system/multi-user.target.wants/sstream-proxy.service")
    expect(enabled.is_symlink(), "the service is not enabled")
    if shutil.which("systemd-analyze"):
        units = [str(path) for path in enabled.resolve().parent.glob("sstream-proxy*")]
        expect({Path(unit).name for unit in units} == _UNITS, units)
        told = run("systemd-analyze", "verify", "--man=no", *units)
        expect("sstream-proxy" not in told, told)


def check_owner() -> None:
    """See that nothing in the data directory belongs to anybody else than the service's user."""
    user = pwd.getpwnam(USER).pw_uid
    others = [str(path) for path in (DATA, *DATA.rglob("*")) if path.lstat().st_uid != user]
    expect(others == [], others)


def check_kept(before: str) -> None:
    """See that configuration and images have survived, by serving the image without any origin."""
    expect(CONFIGURATION.read_text() == before, "the configuration is another")
    run("sstream-proxy", "ready", "ftype=squashfs")
    check_serving("sstream-proxy", "serve", "--offline")
    check_owner()


def check_serving(*command: str) -> None:
    """Run the server on a free port of loopback, and get the image from it."""
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None  # noqa: S101 - it was asked for
            line = next((line for line in server.stdout if "listening on" in line), "")
            expect(line != "", f"{' '.join(command)}: it does not start")
            base = line.split("listening on")[1].split(",")[0].strip()
            with urllib.request.urlopen(f"{base}/m/{ITEM}", timeout=60) as reply:  # noqa: S310 - loopback
                expect(reply.read() == IMAGE, "another image is served")
            children = run("ps", "-o", "uid=", "--ppid", str(server.pid)).split()
            expect(set(children) == {str(pwd.getpwnam(USER).pw_uid)}, f"workers run as {children}")
        finally:
            server.terminate()
            server.communicate(timeout=60)


def make_tree() -> None:
    """Write a signed tree with one image, and the keyring that proves it."""
    gpg = ["gpg", "--batch", "--quiet", "--homedir", "/root/test-gnupg"]
    Path("/root/test-gnupg").mkdir(mode=0o700)
    run(*gpg, "--passphrase", "", "--quick-generate-key", "test", "rsa2048", "sign", "never")
    item = {
        "path": ITEM,
        "ftype": "squashfs",
        "size": len(IMAGE),
        "sha256": hashlib.sha256(IMAGE).hexdigest(),
    }
    product = {"arch": "amd64", "release": "noble", "versions": {"20260102": {"items": {"squashfs": item}}}}
    lists = {
        "index": {
            "format": "index:1.0",
            "updated": "Fri, 02 Jan 2026 00:00:00 +0000",
            "index": {
                "test:download": {
                    "path": "streams/v1/test.sjson", "format": "products:1.0", "datatype": "image-downloads",
                    "products": ["test:noble"],
                }
            },
        },
        "test": {
            "format": "products:1.0", "content_id": "test:download", "datatype": "image-downloads",
            "updated": "Fri, 02 Jan 2026 00:00:00 +0000", "products": {"test:noble": product},
        },
    }  # fmt: skip
    (_TREE / ITEM).parent.mkdir(parents=True)
    (_TREE / ITEM).write_bytes(IMAGE)
    (_TREE / "streams/v1").mkdir(parents=True)
    for name, document in lists.items():
        plain = _TREE / f"streams/v1/{name}.json"
        plain.write_text(json.dumps(document))
        run(*gpg, "--clearsign", "--output", str(plain.with_suffix(".sjson")), str(plain))


def mirror(url: str) -> str:
    """Return the configuration of a mirror with that origin; its keyring is written."""
    run("gpg", "--batch", "--homedir", "/root/test-gnupg", "--export", "--output", str(_KEYRING), "test")
    return f'\n[[mirror]]\nname = "test"\nmount = "/m/"\norigins = ["{url}"]\nkeyring = "{_KEYRING}"\n'


@contextmanager
def origin() -> Iterator[str]:
    """Serve the tree on loopback."""
    handler = partial(_Quiet, directory=str(_TREE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Writes no log."""

    def log_message(self, *_: object) -> None:
        """Write nothing."""


def apt(action: str, *names: str) -> str:
    """Install, remove or purge; return what was told."""
    return run("apt-get", action, "-y", "-q", "--no-install-recommends", *names)


def version(package: str) -> str:
    """Return the version of a package's file."""
    return run("dpkg-deb", "--field", package, "Version").strip()


def installed() -> str:
    """Return the version that is installed."""
    return run("dpkg-query", "--showformat", "${Version}", "--show", "sstream-proxy").strip()


def left() -> list[str]:
    """Return what a purge has left, but for the user, whom Debian keeps."""
    folders = [Path("/", name) for name in ("etc", "usr", "lib", "var/lib")]
    found = {path.resolve() for folder in folders for path in folder.rglob("*sstream-proxy*")}
    return sorted(str(path) for path in found if "/dpkg/" not in str(path) and "/apt/" not in str(path))


def run(*command: str) -> str:
    """Run a command; return what it told, on both streams. A failure ends everything."""
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def expect(holds: bool, otherwise: object) -> None:
    """End everything where something does not hold."""
    if not holds:
        raise SystemExit(f"not as it should be: {otherwise}")


def step(what: str) -> None:
    """Tell what comes now."""
    print(f"== {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
