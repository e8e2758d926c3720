"""What is wrong with a rule that takes its selections from a MAAS."""

from collections.abc import Iterator

from proxy.config.toml_reader import Fault
from proxy.connect.addresses import maas_base
from proxy.connect.errors import MaasFault
from proxy.jobs.rules import Rule

MAAS_FILES = ("key_file", "maas_ca")


def maas_faults(rule: Rule, at: str) -> Iterator[Fault]:
    """Yield the faults of one rule."""
    if not rule.from_maas:
        for name in MAAS_FILES:
            if getattr(rule, name) is not None:
                yield Fault(f"{at}.{name}", "goes with from_maas: name the URL of that MAAS there")
        return
    try:
        maas_base(rule.from_maas)
    except MaasFault as fault:
        yield Fault(f"{at}.from_maas", str(fault))
    if rule.key_file is None:
        yield Fault(f"{at}.key_file", "is missing: name the file that holds an API key of that MAAS")
    if rule.maas:
        yield Fault(f"{at}.maas", "goes without from_maas, which says what MAAS itself has selected")
