"""What can be wrong with a medium or with what is on it. Pure."""

from proxy.errors import ProxyError


class MediumFault(ProxyError):
    """A disk, a stick or a pipe that does not give its bytes."""


class ArchiveCut(ProxyError):
    """An archive that ends before it should; what came before that counts."""


class ArchiveRefused(ProxyError):
    """A file that is no tar archive, or one that no bundle would have."""


class NoBundle(ProxyError):
    """A path at which there is no bundle."""
