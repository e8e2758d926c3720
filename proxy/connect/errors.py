"""What can go wrong with a MAAS, said to whoever administers it. No text holds a key or a password. Pure."""

from proxy.errors import ProxyError


class MaasFault(ProxyError):
    """MAAS cannot be asked, refuses, or is not what it has to be."""


class MaasUnreachable(MaasFault):
    """Nothing of use answers; it may be different in a minute."""


class MaasRefused(MaasFault):
    """MAAS says no, with its reasons."""

    def __init__(self, what: str, status: int, reasons: str) -> None:
        super().__init__(f"MAAS refuses to {what} (HTTP {status}): {reasons or 'it gives no reason'}")
        self.status = status
        self.reasons = reasons


class MaasLacks(MaasRefused):
    """MAAS knows no such path or operation, or no such object (any more)."""


class KeyFault(MaasFault):
    """A key or password that cannot be used."""


class UndoRefused(MaasFault):
    """What was changed here has been changed again since, by somebody else."""
