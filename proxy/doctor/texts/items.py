"""Items, and the ways in which single clients ask for them. Pure."""

from proxy.doctor.texts.words import (
    ALL_AT_ONCE,
    CALLER,
    COPY_AGAIN,
    FASTER,
    HERE,
    MIRROR,
    NETWORK,
    PLAIN_FILES,
    PUBLISHER,
    Words,
)

WORDS = {
    "item-absent": Words(
        "the list names {subject}, and it is not there: {status} {reason}",
        "fetch what is missing, or serve the lists that belong to the files; " + ALL_AT_ONCE,
        MIRROR,
        "status",
    ),
    "old-absent": Words(
        "the list names {subject}, and nothing of its version is there, as in mirrors that were made with "
        "`sstream-mirror --max`: {client} fails unless it is given --max, too",
        "give --max to whoever mirrors this mirror, or fetch the old versions",
        CALLER,
    ),
    "item-size": Words(
        "{subject} has {actual} bytes, and the list says {expected}", COPY_AGAIN, MIRROR, "hash"
    ),
    "item-hash": Words(
        "{subject} is not what the list says: its {algorithm} is {actual}, and not {expected}",
        COPY_AGAIN,
        MIRROR,
        "hash",
    ),
    "item-unproven": Words("the list gives no {what} for {subject}", "tell the publisher", PUBLISHER, "hash"),
    "item-case": Words(
        "the list writes the hash of {subject} in capitals, and {client} compares letter by letter",
        "write it in small letters",
        PUBLISHER,
        "hash",
    ),
    "item-path": Words(
        "the list's path {path} leads out of the mirror, or to another file than it means",
        "write paths relative to the mirror's root, without ?, # or escapes",
        PUBLISHER,
        "status",
    ),
    "item-late": Words(
        "{subject} begins {seconds} s after it was asked for, half of what {client} waits at most",
        FASTER,
        MIRROR,
    ),
    "item-unmeasured": Words(
        "{subject} comes without Content-Length, so that the client sees no progress", PLAIN_FILES, MIRROR
    ),
    "item-long": Words(
        "{subject} came at {rate}/s: at that rate the largest file ({size}) takes {duration}, and MAAS "
        "gives a "
        "download up after two hours",
        FASTER,
        NETWORK,
    ),
    "combined": Words(
        "the image of {subject} and its root has another combined sha256 than {field} says",
        "tell the publisher",
        PUBLISHER,
    ),
    "range-wrong": Words(
        "a part of {subject} that was asked for is not that part: {detail}",
        "have the server answer Range with 206 and the right bytes, or not at all",
        MIRROR,
        "hash",
    ),
    "range-denied": Words(
        "a part of {subject} is refused: {status} {reason}, so that no download is resumed",
        "have the server answer Range",
        MIRROR,
        "status",
    ),
    "range-ignored": Words(
        "asked for a part of {subject}, the mirror sends all of it (200){though}: sstream-mirror appends "
        "it to what "
        "it has, finds the checksum wrong, and begins anew the next time",
        "have the server answer Range with 206",
        MIRROR,
    ),
    "head-failed": Words(
        "HEAD for {subject} fails: {status} {reason}{detail}, and {client} asks so before each download",
        "let the server answer HEAD as it answers GET",
        MIRROR,
        "status",
    ),
    "head-differs": Words(
        "HEAD says that {subject} has {head} bytes, GET says {get}", "let HEAD say what GET says", MIRROR
    ),
    "glued": Words(
        "MAAS up to 3.7 and sstream-mirror first ask for {url} where their URL has no slash at its end, "
        "and go on only after a 404: {detail}",
        "answer 404 for what is not there; until then give clients the URL with a slash at its end",
        MIRROR,
        "status",
    ),
    "glued-host": Words(
        "without a slash at its end this URL becomes {url} in sstream-mirror and MAAS up to 3.7, which "
        "is none",
        "give clients the URL with a slash at its end",
        CALLER,
    ),
    "doubled-slash": Words(
        "old versions of {client} ask for {url}, with two slashes, and get {status}",
        "give the client the URL without a slash at its end",
        CALLER,
    ),
    "http-hangs": Words(
        "{client} asks for each item by plain http first ({url}), and nothing answers: {detail}. That "
        "costs it this "
        "time with each file",
        "answer plain http on that port in any way, or refuse the connection (reject, not drop, in the "
        "firewall)",
        NETWORK,
        "silent",
    ),
    "crowd": Words(
        "{subject} is refused while {count} are asked for at once, and given alone: {detail}. {client} "
        "asks for up to "
        "{crowd} at once",
        "allow more connections and requests of one client (nginx: limit_conn, limit_req)",
        MIRROR,
        "item",
    ),
    "stray-chunk": Words(
        "MAAS 3.5 and 3.6 send `0\\r\\n\\r\\n` behind each request; what came of the next one on that "
        "connection: {detail}",
        "nothing, with most servers: MAAS tries again. sstream-proxy passes over it",
        MIRROR,
    ),
    "here": Words(
        "{host} is this machine itself here ({addresses})",
        "run the doctor where the client runs, if the name means another machine there",
        HERE,
    ),
}
