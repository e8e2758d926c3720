"""Whether README's two commands work on a distribution: in a chroot of it, typed by an ordinary user.

python packaging/try_distribution.py [--keyring FILE] SUITE MIRROR [ARGUMENT OF PYTEST]...

SUITE and MIRROR are debootstrap's. Needs root. The last commit is tried, in a chroot
that is made anew below build/distributions and has this machine's way to the network.
Its mounts and processes end with this program.
"""

import argparse
import shlex
import sys
from pathlib import Path

from chroots import CHROOTS, ROOT, Chroot
from documented import commands

_SERVE = r"""
mkdir ../try && echo 'listen = ["127.0.0.1:0"]' > ../try/config.toml
export SSTREAM_PROXY_CONFIG=../try/config.toml
{ README; } > ../try/banner &
for _ in $(seq 600); do
  base=$(sed -n 's/^ *listening on *//p' ../try/banner)
  [ -z "$base" ] && kill -0 $! && sleep 0.5 || break
done
.venv/bin/python - "$base/-/health" <<'END'
import sys, urllib.request
print("Python", sys.version.split()[0], sys.argv[1], urllib.request.urlopen(sys.argv[1]).status)
END
answered=$?
pkill -TERM --oldest -f '^[^ ]*python[^ ]* [^ ]*sstream-proxy serve$'
wait $! && exit $answered
"""


def main() -> int:
    """Try both commands; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--keyring", type=Path, help="What the mirror is signed by, if debootstrap has it not."
    )
    parser.add_argument("suite", help="Such as trixie.")
    parser.add_argument("mirror", help="Such as http://deb.debian.org/debian.")
    asked, of_pytest = parser.parse_known_args()
    run, test = (commands(ROOT / "README.md", heading)[0] for heading in ("Run it", "Test it"))
    chroot = Chroot(CHROOTS / asked.suite)
    chroot.make(asked.suite, asked.mirror, asked.keyring)
    chroot.add_user()
    print(f"== {asked.suite}: {run}", flush=True)
    chroot.type(_SERVE.replace("README", run))
    chroot.type("rm -rf .venv")
    print(f"== {asked.suite}: {test}", flush=True)
    chroot.type(f"{test} {shlex.join(of_pytest)}")
    print(f"== {asked.suite}: both work")
    return 0


if __name__ == "__main__":
    sys.exit(main())
