"""Distributions in chroots, made anew by debootstrap, with this machine's way to the network.

Needs root. Mounts and processes of a chroot end with the program that entered it.
"""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHROOTS = ROOT / "build" / "distributions"
_ADDED = ("ca-certificates", "procps", "sudo")
"""What every machine has, and debootstrap leaves out."""
_SCRIPT_OF_UBUNTU = Path("/usr/share/debootstrap/scripts/gutsy")
"""Newer releases are links to it, which an older debootstrap lacks."""
_OF_THE_NETWORK = ("etc/resolv.conf", "etc/hosts", "etc/apt/apt.conf")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_OWN_CERTIFICATES = Path("/etc/certificates-of-the-host.crt")
_PASSED_ON = re.compile(r"(?i)(https?|no)_proxy|PIP_(INDEX_URL|TRUSTED_HOST|DEFAULT_TIMEOUT)")
_USER = "tester"
_HOME = Path("/home", _USER)
_CHECKOUT = _HOME / "sstream-proxy"

# None of the host's own: whoever removes a chroot too early removes nothing else.
DEVICES = r"""
mount -t tmpfs -o mode=755 dev "$root/dev"
while read -r name minor; do mknod -m 666 "$root/dev/$name" c 1 "$minor"; done <<END
null 3
zero 5
full 7
random 8
urandom 9
END
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
"""
"""The part of a script of bash that gives a chroot below `$root` its devices."""

_ENTER = f"""
set -e; root=$1; shift
mount -t proc proc "$root/proc"
{DEVICES}
chroot "$root" "$@"
"""


class Chroot:
    """A distribution below a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def make(self, suite: str, mirror: str, keyring: Path | None) -> None:
        """Install the distribution anew, and give it this machine's way to the network."""
        shutil.rmtree(self._root, ignore_errors=True)
        self._root.parent.mkdir(parents=True, exist_ok=True)
        options = ["--variant=minbase", *([f"--keyring={keyring}"] if keyring else [])]
        script: list[str | Path] = []
        if "ubuntu" in mirror:
            options, script = [*options, "--components=main,universe"], [_SCRIPT_OF_UBUNTU]
        subprocess.run(
            ["debootstrap", *options, suite, self._root, mirror, *script],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for name in _OF_THE_NETWORK:
            if Path("/", name).is_file():
                shutil.copyfile(Path("/", name), self._root / name)
        if _CERTIFICATES.is_file():
            shutil.copyfile(_CERTIFICATES, self.inside(_OWN_CERTIFICATES))
            self.inside(Path("/etc/pip.conf")).write_text(f"[global]\ncert = {_OWN_CERTIFICATES}\n")

    def add_user(self) -> None:
        """Add an ordinary user who may use sudo, as README's reader does, with a checkout at home."""
        self.run("apt-get", "update", "-qq")
        self.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *_ADDED)
        self.run("useradd", "--create-home", "--shell", "/bin/bash", _USER)
        self.inside(Path("/etc/sudoers.d", _USER)).write_text(f"{_USER} ALL=(ALL) NOPASSWD: ALL\n")
        archive = self.inside(_HOME / "commit.tar")
        subprocess.run(["git", "archive", "--output", archive, "HEAD"], cwd=ROOT, check=True)
        self.type(f"mkdir {_CHECKOUT} && tar -xf commit.tar -C {_CHECKOUT}", folder=_HOME)

    def type(self, script: str, folder: Path = _CHECKOUT) -> None:
        """Have the user type something in a folder; a failure ends everything."""
        line = f"cd {folder} && {{ {script.strip()}\n}}"
        self.run("runuser", "-u", _USER, "--", "env", f"HOME={_HOME}", "bash", "-c", line)

    def run(self, *command: str | Path) -> None:
        """Run a command as root; a failure ends everything."""
        passed_on = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "DEBIAN_FRONTEND": "noninteractive",
            **passed_on,
        }
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        done = subprocess.run(
            [*namespaces, "bash", "-c", _ENTER, "bash", self._root, *command], env=environment, check=False
        )
        if done.returncode:
            raise SystemExit(f"{shlex.join(map(str, command))[:2000]}\nended with {done.returncode}")

    def inside(self, path: Path) -> Path:
        """Return where a path of the chroot lies."""
        return self._root / path.relative_to("/")
