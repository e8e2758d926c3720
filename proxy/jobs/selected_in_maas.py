"""What is selected in a MAAS: asked of it, or as it was known last when it cannot be asked."""

from typing import NamedTuple

from proxy.connect.addresses import maas_base
from proxy.connect.errors import KeyFault, MaasFault
from proxy.connect.maas_api.access import ApiKey
from proxy.connect.maas_api.http import MaasHttp
from proxy.connect.maas_api.model import Choice, Site
from proxy.connect.maas_api.v2 import MaasV2
from proxy.jobs.rules import Rule


class Selected(NamedTuple):
    """What is selected in a rule's MAAS."""

    choices: tuple[Choice, ...]
    problem: str = ""
    """Why it could not be asked, when this is what was known last."""


def choices_of(site: Site) -> tuple[Choice, ...]:
    """Return what is selected of the sources that a MAAS uses, each thing once. Raises MaasFault."""
    if not site.are_choices_told:
        raise MaasFault(
            "this MAAS does not tell by its API what is selected: name releases by `maas`, or --maas"
        )
    used = (one for one in site.sources if one.is_used)
    return tuple(dict.fromkeys(choice for one in used for choice in site.choices.get(one.id, ())))


async def ask_rules_maas(rule: Rule, known: tuple[Choice, ...]) -> Selected:
    """Return what is selected in a rule's MAAS; what was `known` last, if there is that, when it fails.

    Raises MaasFault.
    """
    try:
        async with MaasHttp(maas_base(rule.from_maas), rule.maas_ca) as http:
            return Selected(choices_of(await MaasV2(http, _key(rule)).look()))
    except MaasFault as fault:
        if not known:
            raise
        return Selected(known, f"what MAAS has selected is as it was known last: {fault}")


def _key(rule: Rule) -> ApiKey:
    try:
        text = "" if rule.key_file is None else rule.key_file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFault(f"{rule.key_file} cannot be read: {error}") from error
    return ApiKey.parse(text)
