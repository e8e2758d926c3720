"""Doing what is planned, each step written down before it is done.

Whoever is interrupted leaves a record that names all that may have been done; taking it
back looks at what MAAS says, so that steps which were never done do no harm.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from proxy.connect.errors import MaasFault, MaasRefused
from proxy.connect.maas import Maas
from proxy.connect.record import Record, Records, merged
from proxy.connect.steps import Step

_LEARNING_S = 180.0
"""How long MAAS may take to read the lists of a new source."""
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 3.0
_IS_THERE = "already exists"
"""MAAS may have selected the release of its own machines by itself."""


class Carrying:
    """Carries out steps on one MAAS."""

    def __init__(
        self, maas: Maas, records: Records, tell: Callable[[str], None], learning_s: float = _LEARNING_S
    ) -> None:
        self._maas = maas
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
        unselected: list[str] = []
        has_learned = source_id is not None
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
                case "select" if target is not None:
                    problem = await self._select(target, step, may_learn=not has_learned)
                    has_learned = True
                    unselected += [problem] if problem else []
        return unselected

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
                    pass  # It went with its source.

    async def _select(self, source_id: int, step: Step, *, may_learn: bool) -> str:
        """Select something, when MAAS has read that the source has it; return why it cannot be."""
        try:
            await self._maas.select(source_id, step.choice)
        except MaasRefused as refused:
            if _IS_THERE in refused.reasons:
                return ""
            if not may_learn:
                return f"{step.choice.shown}: {refused.reasons}"
        else:
            return ""
        self._tell("MAAS reads the lists of the new source")
        await self._maas.learn(source_id)
        pause, waited = _PAUSE_S, 0.0
        while True:
            await asyncio.sleep(pause)
            waited += pause
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
            is_busy = await self._maas.is_importing()
            try:
                await self._maas.select(source_id, step.choice)
            except MaasRefused as refused:
                if waited < self._learning_s and (is_busy or waited < self._learning_s / 10):
                    continue
                return f"{step.choice.shown}: {refused.reasons}"
            else:
                return ""

    def _note(self, record: Record, before: Sequence[Step], steps: Sequence[Step]) -> None:
        try:
            self._records.write(record.with_steps(merged(before, steps)))
        except OSError as error:
            raise MaasFault(
                f"nothing was changed further: what is done cannot be written down "
                f"({error.filename}: {error.strerror}), and could not be taken back"
            ) from error
