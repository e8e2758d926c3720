"""What `--since` names: inventories and earlier bundles, and what they say of the far side."""

from collections.abc import Iterable
from pathlib import Path

from proxy.bundles.bundle import Bundle
from proxy.bundles.earlier import Earlier
from proxy.bundles.inventory import LARGEST_BYTES, InventoryUnreadable, Known, read_inventory
from proxy.bundles.reading.tar import BLOCK_BYTES
from proxy.cli.options import UsageFault
from proxy.errors import ProxyError


def known_there(since: Iterable[Path]) -> Known:
    """Return what all of these say that the far side has. Raises UsageFault for one that cannot be read."""
    known = Known()
    for path in since:
        try:
            known |= _known(path)
        except ProxyError as error:
            raise UsageFault(f"--since {path}: {error}") from error
        except OSError as error:
            raise UsageFault(f"--since {path} cannot be read: {error.strerror}") from error
    return known


def earlier_bundle(like: Path) -> Bundle:
    """Return the bundle of which a part is there. Raises UsageFault."""
    try:
        return Earlier.read(like).bundle
    except ProxyError as error:
        raise UsageFault(f"--like {like}: {error}") from error
    except OSError as error:
        raise UsageFault(f"--like {like} cannot be read: {error.strerror}") from error


def _known(path: Path) -> Known:
    text = None if path.is_dir() else _text(path)
    if text is not None:
        return read_inventory(text)
    contents = Earlier.read(path).bundle.contents
    return Known(frozenset(file.sha256 for one in contents for file in one.files() if not file.is_missing))


def _text(path: Path) -> bytes | None:
    """Return what is in a file; None for one that begins as no text does, such as an archive."""
    with path.open("rb") as file:
        beginning = file.read(BLOCK_BYTES)
        if b"\0" in beginning:
            return None
        data = beginning + file.read(LARGEST_BYTES + 1 - len(beginning))
    if len(data) > LARGEST_BYTES:
        raise InventoryUnreadable(f"it has more than {LARGEST_BYTES} bytes")
    return data
