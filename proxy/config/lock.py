"""The lockfile that a configuration names: read, and found fit to be served before anything is started.

Workers verify it once more, as they verify what they fetch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from proxy.bundles.contents import LARGEST_BYTES
from proxy.bundles.lockfile import Locked, Lockfile, LockfileUnreadable, not_here, read_lockfile
from proxy.config.config import Config
from proxy.config.keyrings import Keyrings
from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.signatures.keyring import Keyring, SignatureError
from proxy.simplestreams.catalog import listed_file
from proxy.simplestreams.clearsign import EnvelopeError
from proxy.simplestreams.model import Item, Products
from proxy.simplestreams.parse import FormatError, parse_document
from proxy.simplestreams.walk import positions

_SIGNED, _SIGNATURE = ".sjson", ".gpg"


class LockUnfit(ProxyError):
    """A lockfile that cannot be served."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"the lockfile {path} cannot be served: {problem}")
        self.path = path
        self.problem = problem


def load_lock(config: Config, keyrings: Keyrings) -> Lockfile | None:
    """Return the lockfile that is to be served, None without one. Blocks; raises LockUnfit."""
    path = config.lock
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            lockfile = read_lockfile(file.read(LARGEST_BYTES + 1))
    except OSError as error:
        raise LockUnfit(path, f"{error.strerror}") from error
    except LockfileUnreadable as error:
        raise LockUnfit(path, str(error)) from error
    known = [mirror.name for mirror in config.mirrors]
    for one in lockfile.locked:
        mirror = one.contents.mirror
        if mirror not in known:
            raise LockUnfit(path, f"it {not_here(mirror, known)}")
        keyring = keyrings.get(mirror)
        if keyring is not None and (problem := _unproved(one, lockfile.data, keyring)):
            raise LockUnfit(path, f"of mirror {mirror}, {problem}")
    return lockfile


def only_locked(config: Config, lockfile: Lockfile) -> Config:
    """Return a configuration that serves the mirrors of a lockfile, and by which nothing is prefetched."""
    mirrors = tuple(one for one in config.mirrors if one.name in lockfile.mirrors)
    return replace(config, mirrors=mirrors, prefetch=())


def _unproved(locked: Locked, data: Mapping[Digest, bytes], keyring: Keyring) -> str:
    """Return what in a generation is not proved, "" if all of it is."""
    by_path = {one.path: data[one.sha256] for one in locked.contents.documents}
    listed: set[Item] = set()
    for path in by_path:
        try:
            verified = _verified(path, by_path, keyring)
            parsed = None if verified is None else parse_document(verified)
        except (EnvelopeError, SignatureError) as error:
            return f"{path} cannot be verified with its keyring: {error}"
        except FormatError as error:
            return f"{path} is no list: {error}"
        if isinstance(parsed, Products):
            listed |= set(_files(parsed))
    for file in locked.contents.items:
        if Item(file.path, file.sha256, file.size) not in listed:
            return f"no verified list names {file.path} with the sha256 and size that it has there"
    return ""


def _verified(path: str, by_path: Mapping[str, bytes], keyring: Keyring) -> bytes | None:
    """Return the verified text of a document; None for what is verified together with another one."""
    if path.endswith(_SIGNED):
        return keyring.verify(by_path[path]).text
    signature = by_path.get(path + _SIGNATURE)
    if path.endswith(_SIGNATURE) or signature is None:
        return None
    return keyring.verify_detached(by_path[path], signature).text


def _files(products: Products) -> Iterator[Item]:
    for position in positions(products):
        file = listed_file(position)
        if file is not None:
            yield file
