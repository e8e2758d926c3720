"""Where the parts of an export go: what they are called, and what may be there already."""

import re
from collections.abc import Iterator
from pathlib import Path

from proxy.bundles.bundle import Part, Sign
from proxy.bundles.contents import Contents
from proxy.bundles.destination import Destination, DestinationTaken
from proxy.bundles.earlier import Earlier
from proxy.bundles.folder import FolderDestination
from proxy.bundles.signing import Signer
from proxy.bundles.tar import PipeDestination, TarDestination
from proxy.digest import Digest, digest_of
from proxy.errors import ProxyError
from proxy.readable import counted

PIPE = Path("-")
STANDARD_OUTPUT = 1
_TAR = ".tar"


class Places:
    """The folders or tar files beside each other that `--to` means, or standard output."""

    def __init__(self, to: Path, source: Path, *, may_link: bool) -> None:
        """Know what was typed; blobs come from below `source`, and may be linked from there."""
        self._to = to
        self._source = source
        self._may_link = may_link
        self._suffix = _TAR if to.name.endswith(_TAR) else ""
        self._name = to.name.removesuffix(_TAR) if self._suffix else to.name

    def of(self, part: Part) -> Destination:
        """Return where a part goes. Raises DestinationTaken if parts of another bundle are there."""
        if self._to == PIPE:
            return PipeDestination(STANDARD_OUTPUT, part)
        for path, parts in self._siblings():
            if parts != part.of:
                raise DestinationTaken(
                    f"{path} is of an earlier bundle of {counted(parts, 'part')}, and this one has {part.of}:"
                    " remove what is left of that one, or name another place"
                )
        path = self._to.with_name(part.name(self._name, self._suffix))
        if self._suffix:
            return TarDestination(path, part)
        return FolderDestination(path, part, may_link=self._may_link, source=self._source)

    def signing(self, signer: Signer) -> Sign:
        """Return what signs, and takes over a signature that an interrupted export has left there."""
        left: dict[Digest, bytes] = {}
        for path, _ in self._siblings():
            try:
                left |= Earlier.read(path).signatures
            except (ProxyError, OSError):
                continue  # Whoever writes there tells.

        def sign(contents: Contents, written: bytes) -> bytes:
            signature = left.get(digest_of(written))
            if signature is not None and signer.has_made(signature, written):
                return signature
            return signer(contents, written)

        return sign

    def _siblings(self) -> Iterator[tuple[Path, int]]:
        """Yield what is there of parts by this name, with how many parts each says that there are."""
        if self._to == PIPE:
            return
        form = re.compile(rf"{re.escape(self._name)}(?:-\d+of(\d+))?{re.escape(self._suffix)}(?:\.part)?")
        try:
            names = sorted(one.name for one in self._to.parent.iterdir())
        except OSError:
            return  # Whoever writes there tells.
        for name in names:
            if found := form.fullmatch(name):
                yield self._to.with_name(name), int(found[1] or 1)
