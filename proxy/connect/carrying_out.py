"""Doing what is planned, each step written down before it is done.

Whoever is interrupted leaves a record that names all that may have been done; taking it
back looks at what MAAS says, so that steps which were never done do no harm.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from proxy.connect.errors import MaasFault, MaasLacks, MaasRefused
from proxy.connect.maas_api.model import Choice
from proxy.connect.maas_api.protocol import Maas
from proxy.connect.record import Record, Records, merged
from proxy.connect.steps import Step

_LEARNING_S = 90.0
"""How long MAAS may take to read the lists of a new source."""
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 3.0
_IS_THERE = "already exists"
"""MAAS may have selected the release of its own machines by itself."""


class Carrying:
    """Carries out steps on one MAAS."""

    def __init__(
        self,
        maas: Maas,
        records: Records,
        tell: Callable[[str], None],
        *,
        may_import: bool = True,
        learning_s: float = _LEARNING_S,
    ) -> None:
        """Know whom to ask; `may_import` allows the import by which alone some MAAS read a source's lists."""
        self._maas = maas
        self._may_import = may_import
        self._records = records
        self._tell = tell
        self._learning_s = learning_s

    async def carry_out(self, steps: Sequence[Step], record: Record, source_id: int | None) -> list[str]:
        """Do what is planned; return what could not be selected, in words.

        `source_id` is the source that is there already. Raises MaasFault and OSError.
        """
        before = record.done
        noted = list(steps)
        self._note(record, before, noted)
        target = source_id
        for place, step in enumerate(steps):
            match step.kind:
                case "make source":
                    target = (await self._maas.make_source(step.new)).id
                    noted[place] = replace(step, target=str(target))
                    self._note(record, before, noted)
                case "change source":
                    target = int(step.target)
                    await self._maas.change_source(target, step.new)
                case "change setting":
                    await self._maas.change_setting(step.target, value=step.new["value"])
                case "select":
                    pass  # All together, when their source is there.
        choices = [step.choice for step in steps if step.kind == "select"]
        return [] if target is None else await self._select(target, choices)

    async def take_back(self, steps: Sequence[Step]) -> None:
        """Do what takes changes back."""
        for step in steps:
            match step.kind:
                case "make source":
                    await self._maas.remove_source(int(step.target))
                case "change source":
                    await self._maas.change_source(int(step.target), step.new)
                case "change setting":
                    await self._maas.change_setting(step.target, value=step.new["value"])
                case "select":
                    await self._maas.deselect(int(step.target), step.choice)

    async def _select(self, source_id: int, choices: Sequence[Choice]) -> list[str]:
        """Select what MAAS has read that the source has; return what it has not, and why.

        MAAS refuses everything of a new source until it has read its lists: as soon as it takes
        one, what it refuses is not there.
        """
        try:
            return await self._select_when_read(source_id, choices)
        except MaasLacks:
            return [f"{one.shown}: this MAAS cannot be told by its API, select it in MAAS" for one in choices]

    async def _select_when_read(self, source_id: int, choices: Sequence[Choice]) -> list[str]:
        refused = await self._try_to_select(source_id, choices)
        if not choices or len(refused) < len(choices):
            return list(refused.values())
        if not await self._maas.learn(by_import=self._may_import):
            later = "MAAS reads the lists of the new source with its next import: connect it again after that"
            return [*refused.values(), later]
        self._tell("MAAS reads the lists of the new source")
        pause, waited = _PAUSE_S, 0.0
        while len(refused) == len(choices) and waited < self._learning_s:
            await asyncio.sleep(pause)
            waited += pause
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
            refused = await self._try_to_select(source_id, choices)
        return list(refused.values())

    async def _try_to_select(self, source_id: int, choices: Sequence[Choice]) -> dict[Choice, str]:
        """Select something; return what is refused, and why."""
        refused = {}
        for choice in choices:
            try:
                await self._maas.select(source_id, choice)
            except MaasLacks:
                raise
            except MaasRefused as fault:
                if _IS_THERE not in fault.reasons:
                    refused[choice] = f"{choice.shown}: {fault.reasons}"
        return refused

    def _note(self, record: Record, before: Sequence[Step], steps: Sequence[Step]) -> None:
        try:
            self._records.write(record.with_steps(merged(before, steps)))
        except OSError as error:
            raise MaasFault(
                f"nothing was changed further: what is done cannot be written down "
                f"({error.filename}: {error.strerror}), and could not be taken back"
            ) from error
