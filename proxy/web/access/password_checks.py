"""Checking passwords while clients wait: off the event loop, once for each, and never many at a time.

scrypt is slow on purpose. So what was checked is remembered by a keyed digest
for as long as the process lives, whose users never change; the same password
in many requests at once is checked once; and whoever sends ever new ones waits
for themselves: one thread checks, few may wait, and fewer of one address.
"""

import asyncio
import os
from collections import Counter, OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from hmac import compare_digest

from proxy.errors import ProxyError
from proxy.web.access.passwords import SALT_BYTES, PasswordHash
from proxy.web.wire.connection_limits import client_of

_MOST_WRONG = 1024
_MOST_WAITING = 64
_MOST_WAITING_OF_CLIENT = 4


class TooManyPasswords(ProxyError):
    """So many different passwords are being tried that this one cannot be checked now."""

    def __init__(self) -> None:
        super().__init__("too many passwords are being tried; ask again in a few seconds")


class PasswordChecks:
    """Checks the passwords of users, for one process."""

    def __init__(self, hashes: Mapping[str, PasswordHash]) -> None:
        self._hashes = hashes
        self._secret = os.urandom(32)
        self._right: dict[str, bytes] = {}
        """The digest of each user's password, once it was seen."""
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._checks: dict[bytes, asyncio.Task[bool]] = {}
        self._waiting: Counter[str] = Counter()
        """Of which client how many wait."""
        self._thread = ThreadPoolExecutor(1, "passwords")
        # Whether there is such a user, nobody shall learn from how long the answer takes.
        pattern = next(iter(hashes.values()), None)
        self._nobody = pattern and PasswordHash(
            pattern.cost_log2, pattern.block, pattern.lanes, os.urandom(SALT_BYTES), os.urandom(32)
        )

    async def is_right(self, user: str, password: bytes, address: str) -> bool:
        """Whether that is the user's password. Raises TooManyPasswords."""
        client = client_of(address)
        digest = blake2b(user.encode() + b"\0" + password, key=self._secret).digest()
        if compare_digest(self._right.get(user, b""), digest):
            return True
        if digest in self._wrong:
            return False
        check = self._checks.get(digest)
        if check is None:
            if len(self._checks) >= _MOST_WAITING or self._waiting[client] >= _MOST_WAITING_OF_CLIENT:
                raise TooManyPasswords
            check = self._begin(user, password, digest, client)
        return await asyncio.shield(check)

    def close(self) -> None:
        """Check no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for check in self._checks.values():
            check.cancel()

    def _begin(self, user: str, password: bytes, digest: bytes, client: str) -> asyncio.Task[bool]:
        check = asyncio.create_task(self._check(user, password, digest), name="password")
        self._checks[digest] = check
        self._waiting[client] += 1
        check.add_done_callback(lambda _: self._end(digest, client))
        return check

    def _end(self, digest: bytes, client: str) -> None:
        del self._checks[digest]
        self._waiting -= Counter([client])  # Drops those of whom none waits.

    async def _check(self, user: str, password: bytes, digest: bytes) -> bool:
        kept = self._hashes.get(user, self._nobody)
        loop = asyncio.get_running_loop()
        is_right = kept is not None and await loop.run_in_executor(self._thread, kept.matches, password)
        if is_right and user in self._hashes:
            self._right[user] = digest
            return True
        self._wrong[digest] = None
        if len(self._wrong) > _MOST_WRONG:
            self._wrong.popitem(last=False)
        return False
