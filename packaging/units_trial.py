"""Whether the units work without the package: run as root where systemd is the first process, by try_deb.py.

python3 units_trial.py CHECKOUT

The program and its unit are there, as packaging/README.md says. Types what else its chapter on systemd has,
for an origin on loopback, and then takes all units away.
"""

import shutil
import sys
from http import HTTPStatus
from pathlib import Path

from documented import commands
from running_service import SERVICE, ask, expect_no_errors, state
from signed_tree import IMAGE, ITEM, export_keyring, make_tree, mirror, origin
from trial import CONFIGURATION, DATA, KEYRING, TREE, expect, run, step

_UNITS = Path("/etc/systemd/system")
_PRIVATE = Path("/var/lib/private/sstream-proxy")
_SETTINGS = """\
listen = ["127.0.0.1:80", "127.0.0.1:8080"]

[[prefetch]]
name = "lab"
mirror = "test"
filters = ["ftype=squashfs"]
"""
_WHOLE = (HTTPStatus.OK, IMAGE)


def main(checkout: Path) -> int:
    """Go through the chapter; return the exit code."""
    install, ask_it, hold_port, low_port, admin, without_server = commands(
        checkout / "packaging/README.md", "systemd"
    )
    make_tree(TREE)
    with origin(TREE) as serving:
        step("the service starts, as a user that exists while it runs")
        type_in(checkout, install.splitlines()[-1])
        expect((state("DynamicUser"), state("ActiveState")) == ("yes", "active"), run("systemctl", "status"))
        step("low ports, and a mirror")
        CONFIGURATION.parent.mkdir()
        export_keyring(TREE, KEYRING)
        CONFIGURATION.write_text(_SETTINGS + mirror(serving.url, KEYRING))
        type_in(checkout, low_port)
        expect(ask(f"/m/{ITEM}", port=80) == _WHOLE, "the image is not served on port 80")
        step("other commands")
        type_in(checkout, ask_it)
        step("prefetch without a server")
        run("systemctl", "stop", SERVICE)
        type_in(checkout, without_server)
        run("systemctl", "start", "sstream-proxy-sync.service")
    # The origin has gone: what is served now was kept.
    step("the port is systemd's")
    type_in(checkout, hold_port)
    expect(ask(f"/m/{ITEM}") == _WHOLE, "the image is not served")
    step("the operator's pages are on a socket of systemd")
    type_in(checkout, admin)
    expect_no_errors()
    step("stop, and take all away")
    copied = list(_UNITS.glob("sstream-proxy*"))
    run("systemctl", "disable", "--now", *(path.name for path in copied if path.is_file()))
    for path in copied:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run("systemctl", "daemon-reload")
    DATA.unlink()
    for made in (_PRIVATE, CONFIGURATION.parent):
        shutil.rmtree(made)
    print("the units work without the package")
    return 0


def type_in(checkout: Path, script: str) -> None:
    """Type something as root in the checkout; a failure ends everything."""
    run("bash", "-ec", f'sudo() {{ "$@"; }}\ncd {checkout}\n{script}')


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
