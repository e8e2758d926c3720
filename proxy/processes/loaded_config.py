"""What a group of processes works with: a configuration, and what its files held when they were read.

Files of certificates and keyrings are renewed while the service runs. They are
read once, by the supervisor, and noticed by their inode, size and time; a
process that starts later, or while a new file is no good, gets what all have.
"""

import logging
import ssl
from collections.abc import Iterator
from typing import NamedTuple, Self

from proxy.bundles.lockfile import Lockfile
from proxy.config.config import Config
from proxy.config.keyrings import Keyrings, keyring_files, open_keyrings
from proxy.config.lock import load_lock, only_locked
from proxy.config.tls import FileWatch, tls_context
from proxy.errors import ProxyError
from proxy.system.durable import make_folder

log = logging.getLogger(__name__)

_KEYRINGS_EVERY_S = 2.0
"""A look costs a system call for each file."""
_PAUSE_S = 60.0
"""A keyring that cannot be taken over is tried again, and told of, not more often than this."""


class LoadedConfig(NamedTuple):
    """What all processes of a group share."""

    config: Config
    keyrings: Keyrings
    """By the mirror's name."""
    tls: ssl.SSLContext | None
    lockfile: Lockfile | None = None
    """What is served, if that is no more than what a lockfile names."""

    def oddities(self) -> Iterator[str]:
        """Yield what whoever wrote the keyrings should know, in words."""
        told = set()
        for name, keyring in self.keyrings.items():
            if keyring.identity not in told:
                told.add(keyring.identity)
                yield from (f"the keyring of mirror {name}: {oddity}" for oddity in keyring.oddities)


def load_files(config: Config) -> LoadedConfig:
    """Read what a configuration names. Blocks; raises ProxyError when that cannot be used."""
    make_folder(config.data_dir)
    keyrings = open_keyrings(config)
    lockfile = load_lock(config, keyrings)
    served = config if lockfile is None else only_locked(config, lockfile)
    return LoadedConfig(served, keyrings, tls_context(config.tls), lockfile)


class FileChanges:
    """Notices that files are others than those that a configuration was loaded from.

    Its watches are made before the files are read, or what changes meanwhile would
    stay unnoticed. All methods block; `now` is in monotonic seconds.
    """

    def __init__(self, certificates: FileWatch, keyrings: FileWatch) -> None:
        self._certificates = certificates
        self._keyrings = keyrings
        self._not_before = 0.0

    @classmethod
    def of(cls, config: Config, now: float) -> Self:
        """Watch all files that a configuration names."""
        return cls(_watched_certificates(config, now), _watched_keyrings(config, now))

    def reloaded(self, current: LoadedConfig, now: float) -> "Reloaded | None":
        """Return what should take the place of `current` and of this, None for nothing.

        What is no good is told of, changes nothing, and is tried again.
        """
        if self._certificates.has_changed(now):
            return self._with_new_certificates(current, now)
        if now >= self._not_before and self._keyrings.has_changed(now):
            return self._with_new_keyrings(current, now)
        return None

    def _with_new_certificates(self, current: LoadedConfig, now: float) -> "Reloaded | None":
        config = current.config
        log.info("certificate.changed path=%s", config.tls.certificate)
        watched = _watched_certificates(config, now)
        try:
            renewed = current._replace(tls=tls_context(config.tls))
        except (ProxyError, OSError) as error:
            log.error("config.rejected problem=%s", error)  # noqa: TRY400 - no fault of this program
            return None
        return Reloaded(renewed, FileChanges(watched, self._keyrings))

    def _with_new_keyrings(self, current: LoadedConfig, now: float) -> "Reloaded | None":
        watched = _watched_keyrings(current.config, now)
        self._not_before = now + _PAUSE_S
        try:
            keyrings = open_keyrings(current.config)
        except (ProxyError, OSError) as error:
            log.error("keyring.rejected problem=%s", error)  # noqa: TRY400
            return None
        known = current.keyrings
        changed = [name for name, one in keyrings.items() if one.identity != known[name].identity]
        if not changed:  # Other bytes, the same keys.
            self._keyrings, self._not_before = watched, now
            return None
        log.info("keyring.changed mirrors=%s", ",".join(changed))
        return Reloaded(current._replace(keyrings=keyrings), FileChanges(self._certificates, watched))


class Reloaded(NamedTuple):
    """A configuration that was loaded again, and what notices when it is to be read once more."""

    loaded: LoadedConfig
    changes: FileChanges


def _watched_certificates(config: Config, now: float) -> FileWatch:
    return FileWatch(config.tls.files, config.tls.check_every_s, now)


def _watched_keyrings(config: Config, now: float) -> FileWatch:
    return FileWatch(keyring_files(config).values(), _KEYRINGS_EVERY_S, now)
