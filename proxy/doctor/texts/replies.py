"""How far a request comes, and what a reply is. Pure."""

from proxy.doctor.texts.words import (
    CALLER,
    COPY_AGAIN,
    FASTER,
    HERE,
    MIRROR,
    NETWORK,
    PLAIN_FILES,
    SERVE_ALL,
    WAY,
    Words,
)

WORDS = {
    "name-unknown": Words(
        "the name {host} does not resolve: {detail}",
        "correct the name, or the name servers and /etc/hosts of the machine that the client runs on",
        HERE,
    ),
    "refused": Words(
        "{subject} cannot be had: {detail}",
        "start the server, correct the port in the URL, or open the firewall",
        MIRROR,
        "status",
    ),
    "unreachable": Words(
        "{subject} cannot be had: {detail}",
        "check routes, firewalls and the address of the name",
        NETWORK,
        "status",
    ),
    "address-dead": Words(
        "{host} has the addresses {addresses}, and {dead} does not answer: clients that try one address "
        "after "
        "another wait for it with every connection",
        "take the dead address out of DNS, or mend the route to it (an IPv6 address without a working "
        "route is usual)",
        NETWORK,
    ),
    "tls-failed": Words(
        "TLS with {host} fails: {detail}",
        "check that this port speaks TLS 1.2 or newer (and the URL, if it speaks plain http)",
        MIRROR,
        "tls",
    ),
    "certificate": Words(
        "the certificate of {host} is not trusted: {detail}",
        "renew it if it has expired; issue it for the name in the URL; send the whole chain; and have "
        "the client trust its authority (for MAAS: update-ca-certificates on every region); if the client "
        "trusts another one than this machine does, name it by --ca",
        MIRROR,
        "tls",
    ),
    "certificate-ends": Words(
        "the certificate of {host} expires in {days} days",
        "renew it, and see that it is renewed by itself",
        MIRROR,
    ),
    "https-needed": Words(
        "the URL is plain http: {client} refuses it ('Only https URLs are supported for simplestreams')",
        "serve the tree by https with a certificate that the client trusts, and use that URL",
        CALLER,
    ),
    "proxy-fails": Words(
        "{subject} is asked for through the proxy {proxy}, as the environment says, and fails there: "
        "{detail}",
        "put {host} into no_proxy where the client runs, or mend the proxy",
        WAY,
        "status",
    ),
    "proxy-used": Words(
        "{host} is asked through the proxy {proxy}, as http_proxy in the environment says",
        "put {host} into no_proxy if it lies in the same network (MAAS: boot_images_no_proxy)",
        HERE,
    ),
    "silent": Words("{subject} does not come: {detail}", FASTER, MIRROR, "silent"),
    "stalled": Words(
        "{subject} stops in the middle: {detail}",
        FASTER + "; if it always stops after a few KiB, a tunnel or firewall drops large packets (MTU)",
        NETWORK,
        "silent",
    ),
    "slow": Words("{subject} is too slow: {detail}", FASTER, MIRROR, "silent"),
    "closed": Words(
        "{subject} cannot be had: {detail}",
        "read the mirror's error log; it gave the connection up",
        MIRROR,
        "status",
    ),
    "not-http": Words(
        "{subject} cannot be had: what answers does not speak HTTP ({detail})",
        "correct scheme and port in the URL",
        CALLER,
        "status",
    ),
    "cut": Words(
        "{subject} ends early: {detail}",
        "look for a full disk, a time limit of the server, or a proxy that cuts; " + COPY_AGAIN,
        MIRROR,
        "cut",
    ),
    "bound": Words(
        "{subject} was not looked at in full: {detail}",
        "run the doctor with --full, or on a part of it",
        HERE,
    ),
    "too-large": Words(
        "{subject} has more than {limit} bytes, which no index or list has",
        "see whether something else lies at that path",
        MIRROR,
    ),
    "absent": Words(
        "{subject} is not there: {status} {reason}", "correct the URL, or " + SERVE_ALL, MIRROR, "status"
    ),
    "denied": Words(
        "{subject} is refused: {status} {reason}",
        "let clients read it without a password, or with http://USER:PASSWORD@HOST/ where the client "
        "can; see "
        "permissions of the files and rules of the server",
        MIRROR,
        "status",
    ),
    "proxy-denied": Words(
        "{subject} is refused by a proxy on the way: {status} {reason}",
        "let the proxy pass it, or have the client go past the proxy (no_proxy)",
        WAY,
        "status",
    ),
    "failed": Words("{subject} fails: {status} {reason}", "read the mirror's error log", MIRROR, "status"),
    "redirected": Words(
        "{subject} is redirected to {place}, and {client} does not follow (MAAS from 3.7 on does not for "
        "images)",
        "serve it under its own path, or give the client the URL that the redirect leads to",
        MIRROR,
        "item",
    ),
    "redirect-loop": Words(
        "{subject} is redirected to where nothing comes of it, or without end: last to {place}",
        "correct the rules of redirection",
        MIRROR,
        "status",
    ),
    "login-page": Words(
        "in place of {subject} a page of HTML comes with status 200",
        "log in where the network wants it, or correct the URL: a server that answers each path with its "
        "start "
        "page must say 404 for what is not there",
        MIRROR,
        "json",
    ),
    "partial": Words(
        "{subject} comes as 206, a part, though no part was asked for",
        "correct the cache or server that remembers parts as wholes",
        MIRROR,
        "status",
    ),
    "empty": Words("{subject} is empty", COPY_AGAIN, MIRROR, "json"),
    "zeros": Words(
        "{subject} consists of zero bytes, as files do after a crash or a full disk",
        COPY_AGAIN,
        MIRROR,
        "json",
    ),
    "encoding-false": Words(
        "{subject} says Content-Encoding: {encoding}, and what comes is not that: {detail}",
        "send no Content-Encoding (Apache: `AddEncoding`/`RemoveEncoding .gz .xz`; nginx: `gzip off`)",
        MIRROR,
        "json",
    ),
    "encoding-unasked": Words(
        "{subject} comes with Content-Encoding: {encoding}, which {client} did not ask for and does not read",
        PLAIN_FILES,
        MIRROR,
        "json",
    ),
    "encoding-used": Words(
        "{subject} is compressed on its way ({encoding}): its Content-Length is not its size",
        PLAIN_FILES,
        MIRROR,
    ),
    "compressed": Words(
        "{subject} is a compressed file, and no Content-Encoding says so",
        "unpack it on the mirror's disk, or let the server say Content-Encoding",
        MIRROR,
        "json",
    ),
    "charset": Words(
        "{subject} is said to be {charset}, and read so its text is another than as UTF-8: {client} "
        "takes the "
        "signature for wrong",
        "send no charset, or utf-8 (Apache: AddDefaultCharset Off for the tree)",
        MIRROR,
        "signature",
    ),
    "charset-odd": Words(
        "{subject} is said to be {charset}: {client} reads it so before it checks the signature, which "
        "fails with the first letter that is not ASCII; today there is none",
        "send no charset, or utf-8 (Apache: AddDefaultCharset Off for the tree)",
        MIRROR,
    ),
    "cache-between": Words(
        "{subject} came through a cache: {field}", "keep it in mind when something looks old", WAY
    ),
    "cache-old": Words(
        "{subject} comes from a cache between here and the mirror, which got it {age} ago",
        "let that cache ask anew for what lies below streams/",
        WAY,
    ),
}
