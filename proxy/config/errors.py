"""Why a configuration cannot be used: every fault of it at once, and in which source."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from proxy.config.toml_reader import Fault
from proxy.config.wording import spoken_key
from proxy.errors import ProxyError

COMMAND_LINE = "command line"
"""The source of what is no file's."""


class ConfigError(ProxyError):
    """The configuration cannot be used; str() has one line for each fault."""

    def __init__(
        self, source: str, faults: Iterable[Fault], table: Mapping[str, object] = MappingProxyType({})
    ) -> None:
        self.source = source
        self.faults = tuple(faults)
        self._places = [spoken_key(fault.key, table) for fault in self.faults]
        super().__init__(source, self.faults)

    def __str__(self) -> str:
        lines = zip(self._places, self.faults, strict=True)
        return "\n".join(": ".join(filter(None, (self.source, at, f.problem))) for at, f in lines)
