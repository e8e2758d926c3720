"""Signatures and keyrings. Pure."""

from proxy.doctor.texts.words import CALLER, COPY_AGAIN, HERE, KEYRING, MIRROR, PUBLISHER, Words

WORDS = {
    "unsigned": Words(
        "{subject} is not signed, and {client} checks signatures",
        "sign it, or serve the publisher's .sjson as it is; a URL that ends in index.json is for clients "
        "without checks",
        MIRROR,
        "unsigned",
    ),
    "cut-off": Words(
        "{subject} ends before its signature does: the file itself is cut off",
        "look for a full disk or an interrupted copy; " + COPY_AGAIN,
        MIRROR,
        "signature",
    ),
    "signature-bad": Words(
        "the signature of {subject} does not match: its text was changed after it was signed ({detail})",
        "serve the file byte for byte as published: no new line ends, no re-formatting, no editing",
        MIRROR,
        "signature",
    ),
    "signature-unknown": Words(
        "{subject} is signed by key {key}, which is not in {keyring}",
        "give the client the publisher's keyring, or serve what the publisher signed; if the client has "
        "another keyring than this, name it by --keyring",
        KEYRING,
        "signature",
    ),
    "signature-second": Words(
        "{subject} bears a second signature, by key {key}, which is not in {keyring}: gpgv calls all of "
        "it bad "
        "(exit status 2)",
        "serve it with the publisher's signature alone, or put that key into the client's keyring too",
        MIRROR,
        "signature",
    ),
    "signature-revoked": Words(
        "{subject} is signed by key {key}, which has been revoked (gpgv itself does not mind, so the "
        "client would "
        "take what whoever has the key signs)",
        "get the publisher's new key, and what is signed by it",
        PUBLISHER,
    ),
    "signature-expired": Words(
        "{subject} is signed by key {key}, which has expired{unless}",
        "get the publisher's current keyring; a key that was prolonged has to be exported anew",
        KEYRING,
        "signature",
    ),
    "signature-outdated": Words(
        "the signature of {subject}, by key {key}, was made for a time that is over: it has expired itself",
        "fetch the file anew, or have the publisher sign it anew; see that this machine's clock is right",
        PUBLISHER,
        "signature",
    ),
    "signature-time": Words(
        "the signature of {subject} cannot be: by this machine's clock {detail}",
        "set the clock of this machine, and of the one that signed",
        HERE,
        "signature",
    ),
    "signature-weak": Words(
        "the signature of {subject} rests on {hash}, which can be forged; newer programs refuse it",
        "ask the publisher to sign with SHA-256 or SHA-512",
        PUBLISHER,
    ),
    "envelope": Words(
        "the signed block of {subject} is not as {client} reads it: {detail}",
        "serve the file byte for byte as published",
        MIRROR,
        "signature",
    ),
    "envelope-after": Words(
        "text that nobody signed stands behind the signed block of {subject}; {client} passes over it",
        "serve the file byte for byte as published",
        MIRROR,
    ),
    "keyring-armored": Words(
        "{keyring} is armored text; gpgv, and so {client}, reads binary keyrings only ('No public key')",
        "convert it: gpg --dearmor < {keyring} > keyring.gpg",
        KEYRING,
        "signature",
    ),
    "unjudged": Words(
        "the signature of {subject} was not judged: {detail}", "install gpgv where the doctor runs", HERE
    ),
    "unchecked": Words(
        "the URL names an unsigned index, so nothing is verified: {client} is to be told so (MAAS by its "
        "v3 API keeps "
        "checking, and fails)",
        "use the URL without streams/v1/index.json, and a keyring",
        CALLER,
    ),
    "fell-back": Words(
        "there is no signed index, and {client} takes the unsigned one where the source need not be signed",
        "serve the signed one too",
        MIRROR,
    ),
}
