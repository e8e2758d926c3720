"""Finding fault with the URLs that mirrors answer to besides their mounts: two mirrors may not have one."""

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from proxy.config.toml_reader import Fault, quoted
from proxy.mirror import ORIGINS, Mirror
from proxy.web.authorities import Authority, of_url
from proxy.web.mounts import tidied

_Tree = tuple[Authority, str]


def answer_faults(mirrors: Sequence[Mirror]) -> Iterator[Fault]:
    """Judge the URLs that are written down; those of origins give way."""
    taken: dict[_Tree, Mirror] = {}
    for place, mirror in enumerate(mirrors):
        for index, url in enumerate(mirror.answer_to):
            tree = None if url == ORIGINS else _tree(url)
            if tree is None:
                continue
            if tree in taken:
                whose = "is written twice" if taken[tree] is mirror else f'is "{taken[tree].name}"\'s already'
                yield Fault(f"mirror[{place}].answer_to[{index}]", f"{quoted(url)} {whose}: remove one")
            taken.setdefault(tree, mirror)


def doubted_answers(mirrors: Sequence[Mirror]) -> Iterator[str]:
    """Yield which mirrors do not answer to a URL of theirs, because an earlier one does."""
    taken: dict[_Tree, Mirror] = {}
    for mirror in mirrors:
        for url in mirror.answered_urls:
            tree = _tree(url)
            first = mirror if tree is None else taken.setdefault(tree, mirror)
            if first is not mirror:
                yield (
                    f'mirrors "{first.name}" and "{mirror.name}" have both {_shown(url)}: by that name '
                    "the first one answers; write answer_to = [] into the one that is not to"
                )


def _tree(url: str) -> _Tree | None:
    """Return who is asked for a URL, and its path; None for what is none, which others tell."""
    try:
        parts = urlsplit(url if url.endswith("/") else f"{url}/")
        return of_url(parts), tidied(parts.path)
    except ValueError:
        return None


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
