"""Whether the Debian package works: run as root in a chroot of a distribution, by try_deb.py.

python3 deb_trial.py OLDER.deb PACKAGE.deb

Installs the older one, fetches as root from an origin on loopback, serves, upgrades, downgrades, removes
and purges; after each step looks at what is there. Needs Python's own library, gpg, and nothing else.
"""

import pwd
import subprocess
import sys
import urllib.request
from pathlib import Path

from signed_tree import IMAGE, ITEM, export_keyring, make_tree, mirror, origin
from trial import (
    CONFIGURATION,
    DATA,
    KEYRING,
    PROGRAM,
    TREE,
    USER,
    apt,
    expect,
    installed,
    run,
    step,
    version,
)

_UNITS = {
    "sstream-proxy.service",
    "sstream-proxy.socket",
    "sstream-proxy-admin.socket",
    "sstream-proxy-sync.service",
    "sstream-proxy-sync.timer",
}
_ASK_TO_REMOVE = Path("/etc/sstream-proxy/remove-data-on-purge")


def main(older: str, package: str) -> int:
    """Go through the life of a package; return the exit code."""
    make_tree(TREE)
    with origin(TREE) as serving:
        step("install")
        apt("install", older)
        check_installed()
        export_keyring(TREE, KEYRING)
        CONFIGURATION.write_text(CONFIGURATION.read_text() + mirror(serving.url, KEYRING))
        step("prefetch as root")
        told = run("sstream-proxy", "prefetch", "ftype=squashfs")
        expect(f"going on as {USER}" in told, told)
        check_owner()
        step("serve, as root and as the service's user")
        check_serving("sstream-proxy", "serve")
        check_serving("runuser", "-u", USER, "--", "sstream-proxy", "serve")
    # The origin has gone: what is served now was kept.
    step("upgrade, with a configuration that the package has changed as well")
    before = CONFIGURATION.read_text()
    apt("install", package)
    expect(CONFIGURATION.with_suffix(".toml.dpkg-dist").is_file(), "the package's configuration is the same")
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
    KEYRING.unlink()
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


def left() -> list[str]:
    """Return what a purge has left, but for the user, whom Debian keeps."""
    folders = [Path("/", name) for name in ("etc", "usr", "lib", "run", "var")]
    found = {path.resolve() for folder in folders for path in folder.rglob("*sstream-proxy*")}
    return sorted(str(path) for path in found if "/dpkg/" not in str(path) and "/apt/" not in str(path))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
