"""What a configuration lays open that its writer may not have meant to: warnings, not faults."""

import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from proxy.config.config import Config
from proxy.mirror import EVERYBODY


def exposures(config: Config, file: Path | None) -> Iterator[str]:
    """Yield warnings that say what to do and hold no secret; `file` is the configuration. Blocks."""
    if file is not None and _is_open_to_all(file) and _has_secrets(config):
        what = f"the passwords or their hashes in {file}"
        yield f"everybody on this machine can read {what}: chmod o-rwx {file}"
    key = config.tls.key
    if key is not None and _is_open_to_all(key):
        yield f"everybody on this machine can read the private key {key}: chmod o-rwx {key}"
    if config.users and config.tls.certificate is None:
        yield "clients' passwords travel without encryption: set [tls] certificate and key"
    elif config.users and config.plain_addresses:
        yield "clients' passwords travel without encryption to what has http:// in listen: remove it there"
    if _is_guarded(config) and config.admin.read == "everyone" and not config.admin.listen:
        advice = 'set [admin] read = "admins", or listen'
        yield f"mirrors are not for everybody, but figures about them are: {advice}"


def _is_guarded(config: Config) -> bool:
    rules = [(one.allow, one.users) for one in config.mirrors]
    rules.append((config.access.allow, config.access.users))
    return any(users or set(allow) != set(EVERYBODY) for allow, users in rules)


def _has_secrets(config: Config) -> bool:
    urls = [config.upstream.parent_proxy, *(url for mirror in config.mirrors for url in mirror.origins)]
    return bool(config.users) or any(urlsplit(url).password for url in urls)


def _is_open_to_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        return False
