"""Whether the units work: run as root where systemd is the first process, by try_deb.py.

python3 systemd_trial.py OLDER.deb PACKAGE.deb

Installs the older package, serves, upgrades, and does with units, sockets and timer what an administrator
does, while a client downloads. Needs Python's own library, gpg, and nothing else.
"""

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from running_service import SERVICE, ask, expect_no_errors, main_process, restart, state, wait_until
from signed_tree import IMAGE, ITEM, Origin, export_keyring, make_tree, mirror, origin
from trial import CONFIGURATION, KEYRING, TREE, apt, expect, installed, run, step, version

_SYNC = "sstream-proxy-sync.service"
_TIMER = "sstream-proxy-sync.timer"
_SOCKET = "sstream-proxy.socket"
_ADMIN_SOCKET = "sstream-proxy-admin.socket"
_ADMIN_PATH = "/run/sstream-proxy-admin.sock"
_UNITS = (SERVICE, _SOCKET, _ADMIN_SOCKET, _SYNC, _TIMER)
_LOW_PORTS = Path("/usr/share/doc/sstream-proxy/examples/low-ports.conf")
_DROP_IN = Path("/etc/systemd/system/sstream-proxy.service.d/low-ports.conf")
_RULE = '\n[[prefetch]]\nname = "all"\nmirror = "test"\nfilters = ["ftype=squashfs"]\n'
_WORST_EXPOSURE = "20"
"""Of `systemd-analyze security`, in tenths: 100 is a service that may do all."""
_WHOLE = (HTTPStatus.OK, IMAGE)


def main(older: str, package: str) -> int:
    """Go through the life of a service; return the exit code."""
    make_tree(TREE)
    with origin(TREE) as serving:
        install_and_upgrade(serving, older, package)
        expose_little()
        restart_while_downloading(serving)
        kill_while_downloading(serving)
        be_started_by_the_port()
        show_operators_pages_on_a_socket()
        listen_on_a_low_port()
        sync(serving)
        expect_no_errors()
        refuse_a_faulty_configuration()
    remove()
    print("the units work")
    return 0


def install_and_upgrade(serving: Origin, older: str, package: str) -> None:
    """Install, configure and upgrade: the service runs all the time, and has what it had."""
    step("install: the service runs")
    apt("install", older)
    first = main_process()
    expect(ask("/-/health")[0] == HTTPStatus.OK, run("systemctl", "status", SERVICE))
    step("reload: a mirror is there, and the service is the same")
    export_keyring(TREE, KEYRING)
    CONFIGURATION.write_text(CONFIGURATION.read_text() + mirror(serving.url, KEYRING))
    run("systemctl", "reload", SERVICE)
    wait_until(lambda: ask(f"/m/{ITEM}") == _WHOLE, "the image is not served")
    expect(main_process() == first, "the service was started anew")
    step("upgrade: the service is the new one, and has the images")
    apt("install", package)
    expect(installed() == version(package), installed())
    expect(main_process() != first, "the service was not started anew")
    expect(ask(f"/m/{ITEM}") == _WHOLE, "the image is not served")


def expose_little() -> None:
    """Hold the services against systemd's own list of what a service need not be able to do."""
    step("security: systemd-analyze")
    for unit in (SERVICE, _SYNC):
        told = run("systemd-analyze", "security", "--no-pager", f"--threshold={_WORST_EXPOSURE}", unit)
        print(told.splitlines()[-1])


def restart_while_downloading(serving: Origin) -> None:
    """Restart while an image is on its way: its client gets all of it."""
    step("restart while a client downloads: it gets all")
    with ThreadPoolExecutor() as threads:
        reply = held_download(serving, threads)
        restarted = threads.submit(restart)
        wait_until(lambda: state("ActiveState") == "deactivating", "the service does not stop")
        serving.goes_on.set()
        expect(reply.result() == _WHOLE, "the download was cut")
        restarted.result()
    expect(ask(f"/m/{ITEM}") == _WHOLE, "the image is not served")


def kill_while_downloading(serving: Origin) -> None:
    """Kill all processes while an image is on its way: systemd starts them anew, and the image is fetched."""
    step("killed while a client downloads: started anew")
    with ThreadPoolExecutor() as threads:
        reply = held_download(serving, threads)
        before = main_process()
        run("systemctl", "kill", "--signal=KILL", SERVICE)
        expect(reply.result() != _WHOLE, "the download was not cut")
        serving.goes_on.set()
        wait_until(lambda: main_process() not in {0, before}, "the service is not started anew")
        wait_until(lambda: state("ActiveState") == "active", "the service is not started anew")
    expect(ask(f"/m/{ITEM}") == _WHOLE, "the image is not served")


def held_download(serving: Origin, threads: ThreadPoolExecutor) -> "Future[tuple[int, bytes]]":
    """Begin to download an image that stops in the middle; its end is in the future."""
    run("sstream-proxy", "purge", "ftype=squashfs")
    serving.hold()
    reply = threads.submit(ask, f"/m/{ITEM}")
    expect(serving.is_held.wait(60), "the origin is not asked")
    return reply


def be_started_by_the_port() -> None:
    """Let systemd hold the port: the first client starts the service, and a restart refuses nobody."""
    step("the port is systemd's: who asks starts the service")
    run("systemctl", "stop", SERVICE)
    expect(ask("/-/health")[0] == 0, "somebody answers")
    run("systemctl", "enable", "--now", _SOCKET)
    expect(state("ActiveState") == "inactive", "the service runs already")
    expect(ask("/-/health")[0] == HTTPStatus.OK, "nobody answers")
    step("the port is systemd's: a restart refuses nobody")
    with asking() as replies:
        restart()
    expect(set(replies) == {HTTPStatus.OK}, replies)
    run("systemctl", "disable", "--now", _SOCKET)
    restart()


@contextmanager
def asking() -> Iterator[list[int]]:
    """Ask over and over again while the context lasts; yield the replies' statuses."""
    replies: list[int] = []
    ends = threading.Event()

    def ask_on() -> None:
        while not ends.is_set():
            replies.append(ask("/-/health")[0])

    with ThreadPoolExecutor() as threads:
        asked = threads.submit(ask_on)
        yield replies
        ends.set()
        asked.result()


def show_operators_pages_on_a_socket() -> None:
    """Have the operator's pages on a local socket, and nowhere else."""
    step("the operator's pages are on a socket of systemd")
    expect(ask("/-/stats")[0] == HTTPStatus.OK, "the pages are not on the port")
    run("systemctl", "stop", SERVICE)
    run("systemctl", "enable", "--now", _ADMIN_SOCKET)
    run("systemctl", "start", SERVICE)
    expect(ask("/-/stats", _ADMIN_PATH)[0] == HTTPStatus.OK, "the pages are not on the socket")
    expect(ask("/-/stats")[0] == HTTPStatus.NOT_FOUND, "the pages are on the port too")
    run("systemctl", "disable", "--now", _ADMIN_SOCKET)
    restart()
    expect(ask("/-/stats")[0] == HTTPStatus.OK, "the pages are not on the port again")


def listen_on_a_low_port() -> None:
    """Listen on port 80 by the capability that low-ports.conf gives."""
    step("port 80, by low-ports.conf")
    before = CONFIGURATION.read_text()
    CONFIGURATION.write_text(f'listen = ["127.0.0.1:80", "127.0.0.1:8080"]\n{before}')
    _DROP_IN.parent.mkdir()
    shutil.copy(_LOW_PORTS, _DROP_IN)
    run("systemctl", "daemon-reload")
    restart()
    expect(ask(f"/m/{ITEM}", port=80) == _WHOLE, "the image is not served on port 80")
    expect(ask(f"/m/{ITEM}") == _WHOLE, "the image is not served on port 8080")
    shutil.rmtree(_DROP_IN.parent)
    CONFIGURATION.write_text(before)
    run("systemctl", "daemon-reload")
    restart()


def sync(serving: Origin) -> None:
    """Run the rules by the timer's service, without a server, and stop it in the middle."""
    step("the timer's service, where no server runs")
    run("systemctl", "stop", SERVICE)
    run("sstream-proxy", "purge", "ftype=squashfs")
    CONFIGURATION.write_text(CONFIGURATION.read_text() + _RULE)
    run("systemctl", "start", _SYNC)
    run("sstream-proxy", "ready", "--rule", "all")
    run("systemctl", "enable", "--now", _TIMER)
    expect(_SYNC in run("systemctl", "list-timers", "--no-pager", _TIMER), "the timer is not set")
    run("systemctl", "disable", "--now", _TIMER)
    step("the timer's service, stopped in the middle, keeps what has arrived")
    run("sstream-proxy", "purge", "ftype=squashfs")
    serving.hold()
    run("systemctl", "start", "--no-block", _SYNC)
    expect(serving.is_held.wait(60), "the origin is not asked")
    run("systemctl", "stop", _SYNC)
    expect(state("Result", _SYNC) == "success", state("Result", _SYNC))
    serving.goes_on.set()
    run("systemctl", "start", _SYNC)
    run("sstream-proxy", "ready", "--rule", "all")
    run("systemctl", "start", SERVICE)


def refuse_a_faulty_configuration() -> None:
    """Fail to reload, and go on; fail to start, once."""
    before = CONFIGURATION.read_text()
    CONFIGURATION.write_text(before + "\n[nonsense]\n")
    step("a faulty configuration: the reload fails, and the service goes on")
    running = main_process()
    expect(subprocess.run(["systemctl", "reload", SERVICE], check=False).returncode != 0, "it is reloaded")
    expect((main_process(), ask(f"/m/{ITEM}")) == (running, _WHOLE), "the service does not go on")
    step("a faulty configuration: the start fails, once")
    expect(subprocess.run(["systemctl", "restart", SERVICE], check=False).returncode != 0, "it is started")
    expect((state("ActiveState"), state("NRestarts")) == ("failed", "0"), "it is started again and again")
    expect(
        "nonsense" in run("journalctl", "--no-pager", f"--unit={SERVICE}", "--lines=20"), "nobody says why"
    )
    CONFIGURATION.write_text(before)
    run("systemctl", "start", SERVICE)


def remove() -> None:
    """Remove the package while everything of it runs: nothing of it runs any more."""
    step("remove and purge, with all units running")
    run("systemctl", "stop", SERVICE)
    run("systemctl", "enable", "--now", _SOCKET, _ADMIN_SOCKET, _TIMER)
    run("systemctl", "start", SERVICE)
    apt("remove", "sstream-proxy")
    for unit in _UNITS:
        expect(state("ActiveState", unit) == "inactive", run("systemctl", "list-units", "sstream-proxy*"))
    expect(ask("/-/health")[0] == 0, "somebody answers")
    KEYRING.unlink()
    apt("purge", "sstream-proxy")
    expect("sstream-proxy" not in run("systemctl", "list-unit-files", "--no-pager"), "units are left")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
