"""DocumentSource the origins of a mirror, one after the other, for what they publish now.

Whatever goes wrong with one of them is noted, and the next is asked.
"""

from typing import NamedTuple

from proxy.documents.assembling import Assembler
from proxy.documents.draft import Offer
from proxy.documents.generation import Generation
from proxy.documents.unforeseen import blamed_on
from proxy.errors import ProxyError
from proxy.sources.document import FetchOptions
from proxy.sources.errors import OriginError
from proxy.sources.freshness import Freshness
from proxy.sources.origin import DocumentSource
from proxy.sources.route import Route
from proxy.store.files import StoreFault


class Answers(NamedTuple):
    """What the origins that were asked have to offer, and why others have nothing."""

    offers: list[Offer]
    problems: list[ProxyError]


async def ask_origins(
    route: Route,
    assembler: Assembler,
    known: Generation | None,
    siblings: frozenset[str],
    freshness: Freshness,
) -> Answers:
    """Ask one origin after the other until one has all that its index names.

    `known` is what was accepted last, `siblings` the flavours of documents that clients ask for.
    """
    answers = Answers([], [])
    origins = route.order()
    for origin in origins:
        is_last = origin is origins[-1]
        options = FetchOptions(freshness, is_replaceable=not is_last, is_held=known is not None)
        try:
            with blamed_on(origin.name):
                draft = await assembler.assemble(DocumentSource(origin, options), known, siblings)
        except StoreFault as error:
            # No other origin's lists could be stored either; those that are here are served on.
            answers.problems.append(error)
            break
        except ProxyError as error:
            answers.problems.append(error)
            if isinstance(error, OriginError):
                route.failed(origin)
            continue
        answers.offers.append(Offer(origin, draft))
        if not draft.may_be_completed(() if known is None else known.absent):
            break
    return answers
