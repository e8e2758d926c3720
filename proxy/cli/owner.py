"""Being the user to whom the data directory belongs, for everything that a command writes there.

What root, or anybody else, wrote beside a service would be closed to it, and then
no list could be accepted any more. Root becomes that user; others are told how to.
Where nothing is stored yet, $SSTREAM_PROXY_USER, which packages set, says who that is.
"""

import ctypes
import os
import pwd
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from proxy.cli.options import UsageFault
from proxy.config.config import Config
from proxy.signatures.keyring import keyring_file
from proxy.store.owners import Owner, established_owner, find_strangers, is_closed

_PRIVATE = Path("/var/lib/private")
"""Where systemd keeps the folders of users that exist only while their service runs."""

_SERVICE_USER = "SSTREAM_PROXY_USER"
_OF_FILE_SYSTEMS = {"lost+found"}
"""What an empty disk has."""

_ROOT = Owner(0, 0)

# linux/capability.h, linux/prctl.h
_CAP_DAC_READ_SEARCH = 2
_CAP_NET_BIND_SERVICE = 10
_CAPABILITIES_VERSION_3 = 0x20080522
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2

_FOR_ROOT_ONLY = ("TMPDIR", "TEMP", "TMP", "GNUPGHOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME")
"""Variables that may name folders of root's own."""


def become_owner(config: Config) -> None:
    """Become the user whose files are in the data directory, before any of them is opened.

    Raises UsageFault with the command that works, when this user is another and cannot.
    """
    data_dir, running = config.data_dir, Owner.running()
    if running.uid != 0 and is_closed(data_dir):
        theirs = Owner.of(data_dir) or _ROOT  # Root can tell whose it is, and becomes them.
        if theirs.uid != running.uid:
            raise UsageFault(f"{data_dir} is closed to {running}: {_as(theirs, data_dir)}")
    owner = established_owner(data_dir) or (Owner.of(data_dir) if running.uid == 0 else None)
    service = os.environ.get(_SERVICE_USER)
    if running.uid == 0 and service and (owner is None or owner.uid == 0):
        owner = _given_to(service, data_dir)
    if owner is None or owner.uid == running.uid:
        return
    is_theirs = f"{data_dir} belongs to {owner}"
    instead = _as(owner, data_dir)
    if running.uid != 0:
        is_ours = owner.uid == 0 and Owner.of(data_dir) == running  # What root has left in it is told of.
        if not is_ours and _makes_own_files(data_dir, running):
            raise UsageFault(f"{is_theirs}, who could not change what you store there: {instead}")
        return
    try:
        _become(owner)
    except OSError as error:
        raise UsageFault(
            f"{is_theirs}, whom root cannot become here ({error.strerror}): {instead}"
        ) from error
    if not os.access(data_dir, os.R_OK | os.X_OK):  # Without what root has kept: gpg gives that up.
        raise UsageFault(f"{is_theirs}, who cannot get there past the folders above it: {instead}")
    closed = _closed([Path(sys.executable), Path(__file__), *_files(config)])
    if closed is not None:
        raise UsageFault(f"{is_theirs}, who may not read {closed}: let them; or {instead}")
    click.echo(f"going on as {owner}, to whom {data_dir} belongs", err=True)


def _given_to(name: str, data_dir: Path) -> Owner:
    """Give a data directory in which nothing is yet to the service's user, and return them.

    Raises UsageFault where root has something there already, or nothing can be made there.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise UsageFault(
            f"there is no user {name!r}, as whom ${_SERVICE_USER} lets the service run: add one, or unset it"
        ) from None
    owner = Owner(entry.pw_uid, entry.pw_gid)
    try:
        if not data_dir.exists():
            data_dir.parent.mkdir(parents=True, exist_ok=True)
            data_dir.mkdir(mode=0o700)
        if {one.name for one in data_dir.iterdir()} <= _OF_FILE_SYSTEMS:
            os.chown(data_dir, *owner)
            return owner
    except OSError as error:
        raise UsageFault(f"{data_dir} cannot be made for {name}: {error.strerror}") from error
    raise UsageFault(
        f"{data_dir} belongs to root, and {name}, as whom the service runs, could not change what is stored"
        f" there: `sudo chown -R {owner.for_chown} {data_dir}` gives it to them, if all of it is the cache's"
    )


def warn_of_strangers(data_dir: Path, owner: Owner) -> None:
    """Tell of files in the data directory that its owner cannot change, and how to mend that."""
    strangers = find_strangers(data_dir, owner)
    if strangers is not None:
        click.echo(f"warning: {strangers}: {strangers.remedy}", err=True)


def _files(config: Config) -> Iterable[Path]:
    """Return the files besides the data directory that a command may need."""
    yield from (keyring_file(mirror.keyring) for mirror in config.mirrors if mirror.keyring)
    named = (config.tls.certificate, config.tls.key, config.bundles.keyring, config.lock)
    yield from (Path(one) for one in named if one is not None)


def _makes_own_files(data_dir: Path, running: Owner) -> bool:
    """Whether what this user makes there is theirs: not on file systems that give all files to one."""
    draft = data_dir / f".owner-{os.getpid()}"
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError:
        return True
    try:
        made = Owner.of(draft)
    finally:
        draft.unlink()
    return made is None or made.uid == running.uid


def _closed(paths: Iterable[Path]) -> Path | None:
    """Return the first of the paths that is there and that this process may not read."""
    for path in paths:
        try:
            if path.is_dir():
                os.scandir(path).close()
            else:
                path.open("rb").close()
        except PermissionError:
            return path
        except OSError:
            continue  # Whoever opens it tells.
    return None


def _become(owner: Owner) -> None:
    """Give up root for good. Raises OSError where that is not allowed.

    Reading everything and taking low ports is kept where possible, also by programs that
    are started: this one, a keyring or the folder above the data may be open to root alone.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    may_keep = libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0
    name = owner.name
    if name is None:
        os.setgroups([owner.gid])
    else:
        os.initgroups(name, owner.gid)
    os.setresgid(owner.gid, owner.gid, owner.gid)
    os.setresuid(owner.uid, owner.uid, owner.uid)
    if may_keep:
        _keep_capabilities(libc)
    home = "/" if name is None else os.path.expanduser(f"~{name}")  # noqa: PTH111 - raises nothing
    os.environ.update(HOME=home, USER=name or str(owner.uid), LOGNAME=name or str(owner.uid))
    for variable in _FOR_ROOT_ONLY:
        os.environ.pop(variable, None)


def _keep_capabilities(libc: ctypes.CDLL) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION_3, 0)
    kept = 1 << _CAP_DAC_READ_SEARCH | 1 << _CAP_NET_BIND_SERVICE
    # Effective, permitted and inheritable; of capabilities 0 to 31, and of the rest.
    sets = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)
    if libc.capset(header, sets) == 0:
        for one in (_CAP_DAC_READ_SEARCH, _CAP_NET_BIND_SERVICE):
            libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, one, 0, 0)


def _as(owner: Owner, data_dir: Path) -> str:
    """Return in words how to run this command as somebody else."""
    command = shlex.join([sys.executable, "-m", "proxy", *sys.argv[1:]])
    if not sys.argv[0].endswith("__main__.py"):
        command = shlex.join(sys.argv)
    if _PRIVATE in data_dir.resolve().parents:
        service = data_dir.resolve().name
        user = f"-p DynamicUser=yes -p User={service} -p StateDirectory={service}"
        return f"run it as `sudo systemd-run --quiet --pipe --wait --collect {user} {command}`"
    if owner.uid == 0:
        return f"run it as `sudo {command}`"
    if owner.name is None:
        ids = f"--reuid={owner.uid} --regid={owner.gid} --clear-groups"
        return f"run it as `sudo setpriv {ids} {command}`"
    return f"run it as `sudo -u {owner.name} {command}`"
