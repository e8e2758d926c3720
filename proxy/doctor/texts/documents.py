"""What indexes and lists say. Pure."""

from proxy.doctor.texts.words import (
    ALL_AT_ONCE,
    CALLER,
    COPY_AGAIN,
    FASTER,
    HERE,
    MIRROR,
    PUBLISHER,
    SERVE_ALL,
    Words,
)

WORDS = {
    "not-json": Words("{subject} is no JSON: {detail}", COPY_AGAIN, MIRROR, "json"),
    "format": Words(
        "{subject} says the format {format}, where {wanted} is wanted",
        "see whether the right file lies at that path",
        MIRROR,
        "model",
    ),
    "index-misfit": Words(
        "{client} calls {subject} invalid: {detail}",
        "tell the publisher, or write what is missing",
        PUBLISHER,
        "index-model",
    ),
    "list-misfit": Words(
        "{client} cannot read {subject}: {detail}{consequence}",
        "tell the publisher, or write the list as the client wants it",
        PUBLISHER,
        "model",
    ),
    "list-unmodelled": Words(
        "MAAS 3.8 cannot read {subject}, and fails with all of the source; up to 3.7 reads it: {detail}",
        "write the list as MAAS 3.8 wants it before MAAS is upgraded; --as maas-3.8 judges by it alone",
        PUBLISHER,
    ),
    "no-lists": Words("{subject} names no lists", SERVE_ALL, MIRROR, "nothing"),
    "nothing": Words(
        "the lists name nothing that {client} takes: {detail}",
        "use a stream that has images for it, or list them",
        CALLER,
        "nothing",
    ),
    "product-missing": Words(
        "the index says that {subject} has the product {product}, and the list does not have it",
        ALL_AT_ONCE,
        MIRROR,
        "nothing",
    ),
    "wrong-list": Words(
        "{subject} calls itself {content_id}, and the index calls it {entry}",
        "see whether lists were mixed up when they were copied",
        MIRROR,
    ),
    "list-older": Words(
        "{subject} is of {list_date}, and the index promises one of {index_date}: the mirror mixes two "
        "publications, and the client takes images that were replaced",
        ALL_AT_ONCE,
        MIRROR,
    ),
    "list-newer": Words(
        "{subject} is of {list_date}, newer than the index says ({index_date}), by {ahead}",
        ALL_AT_ONCE,
        MIRROR,
    ),
    "old": Words(
        "the index is of {date}, {age} ago: the mirror may have stopped being updated",
        "look at the job that updates the mirror, and compare with upstream",
        MIRROR,
    ),
    "future": Words(
        "{subject} is dated {date}, which lies ahead of this machine's clock",
        "set the clock of this machine, or of the one that published",
        HERE,
    ),
    "clock": Words(
        "the mirror's clock and this machine's differ by {by}",
        "set both by NTP: certificates and signatures are judged by the clock, and OAuth (MAAS) too",
        HERE,
    ),
    "pass-slow": Words(
        "the index and its lists take {seconds} s together, and {client} gives the source up after {limit} s",
        FASTER,
        MIRROR,
        "silent",
    ),
    "pass-long": Words(
        "the index and its lists take {seconds} s together, half of what {client} waits ({limit} s)",
        FASTER,
        MIRROR,
    ),
}
