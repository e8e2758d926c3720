"""A chroot in which systemd runs as the first process, in namespaces of its own.

Needs root, and a kernel with cgroup 2. The system sees no processes of others, has no network but its own
loopback, and may set no variable of the kernel. It ends when the context does.
"""

import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chroots import DEVICES

_START_TIMEOUT_S = 120

# A group of processes of its own, which the new namespace then takes for the root of all.
_OUTER = r"""
set -e; root=$1; inner=$2
mount -t cgroup2 cgroup2 "$root/mnt"
group=$root/mnt/sstream-proxy-trial-$$
mkdir "$group"
(
  echo $BASHPID > "$group/cgroup.procs"
  exec unshare --cgroup --ipc --mount --net --pid --uts --fork --kill-child bash -c "$inner" bash "$root"
) || true
find "$group" -depth -type d -exec rmdir {} +
"""

# The first line tells the number by which the machine knows the system's first process.
_INNER = (
    r"""
set -e; root=$1
read -r first _ < /proc/self/stat
umount "$root/mnt"
# Not by chroot: who is in one may have no user namespaces, which units ask for.
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind -o ro "$root/proc/sys" "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 run "$root/run"
"""
    + DEVICES
    + r"""
echo "$first"
cd "$root"
pivot_root . mnt
exec env --ignore-environment container=trial sh -c 'umount -l /mnt; exec /lib/systemd/systemd' > /dev/null
"""
)
_ENVIRONMENT = (
    "--ignore-environment",
    "--chdir=/",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "DEBIAN_FRONTEND=noninteractive",
)


class Booted:
    """A system that runs."""

    def __init__(self, first: int) -> None:
        self._enter = ["nsenter", f"--target={first}", "--all", "--root", "env", *_ENVIRONMENT]

    def run(self, *command: str | Path) -> None:
        """Run a command as root; a failure ends everything."""
        if code := subprocess.run([*self._enter, *command], check=False).returncode:
            raise SystemExit(f"{shlex.join(map(str, command))}\nended with {code}")

    def systemctl(self, *arguments: str) -> bool:
        """Ask systemd without a word; return whether it agreed."""
        command = [*self._enter, "systemctl", *arguments]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def booted(root: Path) -> Iterator[Booted]:
    """Start the system below a folder; yield it when all is there that starts by itself."""
    command: list[str | Path] = ["unshare", "--mount", "bash", "-c", _OUTER, "bash", root, _INNER]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as outer:
        assert outer.stdout is not None  # noqa: S101 - it was asked for
        first = outer.stdout.readline()
        if not first:
            raise SystemExit(f"there is no systemd below {root}, or no way to start it")
        system = Booted(int(first))
        until = time.monotonic() + _START_TIMEOUT_S
        try:
            while not system.systemctl("is-active", "multi-user.target"):
                if outer.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"systemd does not start below {root}")
                time.sleep(0.5)
            yield system
        finally:
            system.systemctl("poweroff", "--force")
            outer.wait(timeout=60)
