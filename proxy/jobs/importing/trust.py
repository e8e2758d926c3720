"""Whether an operator's signature over a bundle's contents counts, and whether one is needed."""

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.errors import ProxyError
from proxy.jobs.importing.bundles import Bundle
from proxy.mirror import Trust
from proxy.readable import date
from proxy.signatures.keyring import Keyring, SignatureError


class SignatureRefused(ProxyError):
    """A bundle that nobody vouches for whom this site trusts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """Who signed a bundle, and when."""

    fingerprint: str
    at: float
    """Unix seconds."""

    def __str__(self) -> str:
        return f"signed by {self.fingerprint} on {date(self.at)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """Whom this site believes besides upstream's keys."""

    keyring: Keyring | None
    """The keys of operators, None without any."""
    trusts: Mapping[str, Trust]
    """What makes each mirror's documents believable."""
    ignores_signatures: bool = False
    """Whether a signature does not matter where upstream's decide."""

    def vouched(self, bundle: Bundle) -> Vouched | None:
        """Return who signed a bundle, None if nobody had to. Blocks; raises SignatureRefused."""
        is_needed = self.trusts[bundle.mirror] is Trust.TLS
        if bundle.signature is None:
            if is_needed:
                raise SignatureRefused(
                    f"nobody has signed it, and mirror {bundle.mirror} has trust = 'tls', so no signature of "
                    "upstream's proves its lists: have it written with `export --sign KEYID`"
                )
            return None
        if self.ignores_signatures and not is_needed:
            return None
        if self.keyring is None:
            otherwise = "" if is_needed else ", or pass over it: --ignore-signature"
            raise SignatureRefused(
                "an operator has signed it, and no keyring says whose signatures count here: name one, "
                f"[bundles] keyring or --keyring FILE{otherwise}"
            )
        try:
            signed = self.keyring.verify_detached(bundle.text, bundle.signature)
        except SignatureError as error:
            told = str(error).replace("the mirror's keyring", "the keyring of [bundles]")
            raise SignatureRefused(f"the operator's signature over it does not count: {told}") from error
        return Vouched(fingerprint=signed.fingerprint, at=signed.signed_at)
