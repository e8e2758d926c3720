"""What gpgv's verdict on a document means for a client. Pure."""

from collections.abc import Iterator

from proxy.doctor.checks.documents import Document, envelope_problem
from proxy.doctor.clients import Client, Judge, Kind
from proxy.doctor.findings import Finding
from proxy.doctor.verdict import Verdict
from proxy.doctor.wording import Voice
from proxy.readable import date, duration

_WEAK = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160"}
_HASH, _SIGNED_AT = 7, 2
_AHEAD_S = 300.0
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_END = b"-----END PGP SIGNATURE-----"
_TIME_CONFLICT = "Time conflict"


def of_signature(
    client: Client, voice: Voice, document: Document, verdict: Verdict, keyring: str, now: float
) -> Iterator[Finding]:
    """Say what the client makes of a document's signature."""
    facts = {"subject": document.subject, "keyring": keyring, "url": document.url}
    if verdict.exit_status:
        yield _refused(voice, document, verdict, facts)
        return
    is_old_style = client.kind in {Kind.MAAS, Kind.MAAS_MODELS, Kind.TOOL}
    problem = envelope_problem(document.raw, is_simplestreams=client.kind in {Kind.MAAS, Kind.TOOL})
    if problem:
        say = voice.fault if is_old_style else voice.warning
        yield say("envelope", **facts, detail=problem)
    if document.raw.rpartition(_END)[2].strip():
        yield voice.warning("envelope-after", **facts)
    yield from _of_key(client, voice, verdict, facts)
    yield from _of_time_and_hash(voice, verdict, facts, now)


def _refused(voice: Voice, document: Document, verdict: Verdict, facts: dict[str, str]) -> Finding:
    missing = (*verdict.words_of("NO_PUBKEY"), "?")[0]
    code, more = "signature-bad", {"detail": verdict.last_line}
    if not document.is_clearsigned:
        code, more = "unsigned", {}
    elif _END not in document.raw:
        code, more = "cut-off", {}
    elif document.raw.startswith(_BYTE_ORDER_MARK):
        code, more = "envelope", {"detail": "a byte order mark stands before it"}
    elif verdict.has("EXPSIG") and not verdict.has("BADSIG"):
        code, more = "signature-outdated", {"key": (*verdict.words_of("EXPSIG"), "?")[0]}
    elif verdict.has("NO_PUBKEY") and not verdict.has("BADSIG"):
        code, more = "signature-second" if verdict.has("GOODSIG") else "signature-unknown", {"key": missing}
    elif _TIME_CONFLICT in verdict.last_line:
        code, more = "signature-time", {"detail": "it was made before its key, or the key is of the future"}
    elif verdict.has("GOODSIG") and not verdict.has("BADSIG"):
        code, more = "envelope", {"detail": "another block follows the signed one"}
    return voice.fault(code, **facts, **more)


def _of_key(client: Client, voice: Voice, verdict: Verdict, facts: dict[str, str]) -> Iterator[Finding]:
    if words := verdict.words_of("REVKEYSIG"):
        yield voice.fault("signature-revoked", **facts, key=words[0])
    if words := verdict.words_of("EXPKEYSIG"):
        is_strict = client.judge is Judge.OPENPGP
        say = voice.fault if is_strict else voice.warning
        unless = "" if is_strict else " (gpgv takes it all the same; other programs do not)"
        yield say("signature-expired", **facts, key=words[0], unless=unless)


def _of_time_and_hash(voice: Voice, verdict: Verdict, facts: dict[str, str], now: float) -> Iterator[Finding]:
    words = verdict.words_of("VALIDSIG")
    if len(words) > _HASH and words[_HASH] in _WEAK:
        yield voice.warning("signature-weak", **facts, hash=_WEAK[words[_HASH]])
    if len(words) > _SIGNED_AT and words[_SIGNED_AT].isdigit():
        ahead_s = int(words[_SIGNED_AT][:15]) - now
        if ahead_s > _AHEAD_S:
            signed = date(now + ahead_s)
            detail = f"it was made {duration(ahead_s)} from now ({signed})"
            yield voice.warning("signature-time", **facts, detail=detail)
