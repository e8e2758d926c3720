"""Connecting a MAAS: looking, planning, asking, changing, watching; and checking and undoing it."""

import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import click

from proxy.cli.import_view import ImportView
from proxy.cli.maas_access import MaasAccess
from proxy.cli.maas_target import Given, choose_mirror, make_target
from proxy.cli.options import UsageFault
from proxy.cli.prefetch import fetch_what_maas_has
from proxy.cli.running import COMPLETE, FAILED, PARTIAL, run_as_owner
from proxy.config.config import Config
from proxy.connect.addresses import without_password
from proxy.connect.carrying_out import Carrying
from proxy.connect.checking import check as findings_of
from proxy.connect.errors import MaasFault
from proxy.connect.maas_api.model import Site
from proxy.connect.maas_api.protocol import Maas
from proxy.connect.plan import Plan, Target, make_plan, our_source
from proxy.connect.proxy_side import ProxySide
from proxy.connect.record import Record, Records
from proxy.connect.route import addresses_of, other_names
from proxy.connect.steps import Step
from proxy.connect.trying import try_mirror
from proxy.connect.undoing import Undoing, plan_undoing
from proxy.connect.watching import watch_import
from proxy.mirror import Mirror
from proxy.readable import counted, printable, size

_Result = TypeVar("_Result")
URL_VARIABLE = "SSTREAM_PROXY_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted(Given):
    """What the options say."""

    yes: bool
    no_import: bool
    undo: bool
    check: bool
    warm: bool
    mirror: str | None


class ConnectMaas:
    """One run of the command."""

    def __init__(self, config: Config, base: str, access: MaasAccess, wanted: Wanted) -> None:
        self._config = config
        self._base = base
        self._access = access
        self._wanted = wanted
        self._records = Records(config.data_dir)

    def run(self) -> int:
        """Do what is wanted; return the exit code."""
        if self._wanted.undo:
            return self._undo()
        record = self._with_owner(self._read_record)
        mirror = choose_mirror(self._config, self._wanted.mirror, record)
        target = make_target(self._config, self._base, mirror, self._wanted, record)
        return self._check(target, record) if self._wanted.check else self._connect(mirror, target, record)

    def _connect(self, mirror: Mirror, target: Target, record: Record | None) -> int:
        async def look(maas: Maas) -> Site:
            trial = await try_mirror(target.url)
            if not trial.is_good:
                raise MaasFault(f"{trial.problem} (--proxy-url says what MAAS is to use)")
            if trial.problem:
                click.echo(f"warning: {printable(trial.problem)}", err=True)
            return await maas.look()

        site = self._with_maas(look)
        target = _as_known(site, target)
        plan = make_plan(site, target)
        click.echo(
            f"MAAS {site.version.text} at {self._base}, mirror {mirror.name} at "
            f"{without_password(target.url)}"
        )
        for warning in plan.warnings:
            click.echo(f"warning: {printable(warning)}", err=True)
        if not plan.steps:
            click.echo("nothing to change: this MAAS is set up so already")
        else:
            _show(plan.steps)
            self._warn_of_drops(plan)
            self._ask("Change this?")
        if self._is_to_warm(plan):
            status = fetch_what_maas_has(self._config, [mirror.name], site, self._base)
            if status == FAILED:
                raise MaasFault("nothing was changed: what this MAAS has selected could not be fetched")
        if not plan.steps and record is not None and self._wanted.no_import:
            return COMPLETE
        known = record or Record(maas=self._base, mirror=mirror.name, url=target.url, changed_at=0.0)
        started = replace(known, mirror=mirror.name, url=target.url, changed_at=time.time())
        return self._with_maas(lambda maas: self._carry_out(maas, site, plan, target, started))

    async def _carry_out(self, maas: Maas, site: Site, plan: Plan, target: Target, record: Record) -> int:
        ours = our_source(site, target)
        if plan.steps:
            may_import = not self._wanted.no_import
            carrying = Carrying(maas, self._records, click.echo, may_import=may_import)
            unselected = await carrying.carry_out(plan.steps, record, None if ours is None else ours.id)
            for problem in unselected:
                click.echo(f"warning: not selected: {printable(problem)}", err=True)
            click.echo(
                f"changed; `sstream-proxy connect maas {self._base} --undo` puts back what was there before"
            )
        if self._wanted.no_import:
            return COMPLETE
        return await self._import(maas, target, is_anything_selected=any(site.choices.values()))

    async def _import(self, maas: Maas, target: Target, *, is_anything_selected: bool) -> int:
        side = self._side(target)
        before = side.served()
        await maas.start_import()
        click.echo("MAAS imports now; Ctrl-C ends the watching, not the import")
        view = ImportView()
        end = await watch_import(maas, side.served, before, view.show, time.monotonic, view.away)
        view.close()
        served = end.served
        click.echo(
            f"the proxy sent {size(served.sent_bytes)} in {counted(served.requests, 'reply', 'replies')}, "
            f"{size(served.hit_bytes)} from the cache, and fetched {size(served.fetched_bytes)} upstream"
        )
        for image in end.incomplete:
            click.echo(f"not complete: {printable(image.name)} ({image.percent:.0f} %)", err=True)
        if not served.requests:
            click.echo(
                f"warning: MAAS asked this proxy for nothing: can its region controllers reach "
                f"{without_password(target.url)}, and is {self._config.data_dir} what that proxy uses?",
                err=True,
            )
        if end.is_whole:
            click.echo(f"complete: MAAS has {counted(len(end.images or ()), 'image')}")
            return COMPLETE
        if not served.requests:
            return PARTIAL
        if end.images is None or not (end.images or is_anything_selected):
            told = "MAAS does not tell which images it has" if end.images is None else "nothing is selected"
            click.echo(f"the import has ended; {told}")
            return COMPLETE
        click.echo(f"{'not complete' if end.images else 'MAAS has no images'}: its log tells why", err=True)
        return PARTIAL

    def _check(self, target: Target, record: Record | None) -> int:
        async def look(maas: Maas) -> int:
            site = await maas.look()
            side = self._side(target)
            addresses = addresses_of(self._base)
            found = findings_of(site, _as_known(site, target), side, addresses, time.time())
            click.echo(f"MAAS {site.version.text} at {self._base}")
            for one in found:
                click.echo(f"  {'ok   ' if one.is_good else 'WRONG'} {printable(one.text)}")
                if one.advice:
                    click.echo(f"        {one.advice}")
            if site.no_proxy is False:
                click.echo(
                    "  note  boot_images_no_proxy is off: MAAS asks through its own http_proxy, if it has one"
                )
            return COMPLETE if all(one.is_good for one in found) else FAILED

        if record is None:
            click.echo("note: this MAAS was not connected from this data directory", err=True)
        return self._with_maas(look)

    def _undo(self) -> int:
        record = self._with_owner(self._read_record)
        if record is None or not record.steps:
            click.echo(f"nothing to undo: nothing was changed of {self._base} from {self._config.data_dir}")
            if others := ", ".join(one for one in self._records.known() if one != self._base):
                click.echo(f"it was of {others}: if one is the same MAAS, undo it by that URL", err=True)
            return COMPLETE
        site = self._with_maas(lambda maas: maas.look())
        undoing = plan_undoing(site, record.done)
        for refusal in undoing.refusals:
            click.echo(f"left alone: {printable(refusal)}", err=True)
        if undoing.steps:
            _show(undoing.steps)
            if undoing.drops_images:
                click.echo("MAAS may drop images for this and import them again from where they were before")
            self._ask("Put this back?")

            self._with_maas(lambda maas: self._take_back(maas, undoing, record))
        if undoing.refusals:
            click.echo("the rest is as it was before; what is left alone has to be changed by hand", err=True)
            return FAILED
        if not undoing.steps:
            self._records.forget(self._base)
            click.echo("all was put back already")
        return COMPLETE

    async def _take_back(self, maas: Maas, undoing: Undoing, record: Record) -> None:
        """Put back what was there, see that it is, and have MAAS import from there."""
        await Carrying(maas, self._records, click.echo).take_back(undoing.steps)
        left = plan_undoing(await maas.look(), record.done).steps
        if left:
            raise MaasFault(f"MAAS has taken the changes, and yet there is left to do: {left[0].lines[0]}")
        if not undoing.refusals:
            self._records.forget(self._base)
            click.echo("all is as it was before")
        if not self._wanted.no_import:
            try:
                await maas.start_import()
            except MaasFault as fault:
                click.echo(f"warning: no import was started: {printable(str(fault))}", err=True)

    def _side(self, target: Target) -> ProxySide:
        remembers = self._config.clients.remember
        stats = self._config.data_dir / "stats"
        return ProxySide(stats, target.mirror, time.time, are_clients_remembered=remembers)

    def _is_to_warm(self, plan: Plan) -> bool:
        if self._wanted.warm:
            return True
        if not plan.drops_images or self._wanted.yes or self._wanted.no_import:
            return False
        return click.confirm("Fetch into the cache first what this MAAS has selected?", default=True)

    def _warn_of_drops(self, plan: Plan) -> None:
        if plan.drops_images and not self._wanted.warm:
            click.echo(
                "MAAS may drop the images it has and import them anew when a source's URL changes: it has "
                "them back sooner when the cache has them (--warm, or `prefetch --from-maas URL`)"
            )

    def _ask(self, question: str) -> None:
        if self._wanted.yes:
            return
        if not sys.stdin.isatty():
            raise UsageFault("nothing was changed: say yes in a terminal, or by --yes")
        if not click.confirm(question):
            click.echo("nothing was changed", err=True)
            raise SystemExit(FAILED)

    async def _read_record(self) -> Record | None:
        return self._records.read(self._base)

    def _with_owner(self, work: Callable[[], Awaitable[_Result]]) -> _Result:
        return run_as_owner(self._config, work, "nothing was changed")

    def _with_maas(self, work: Callable[[Maas], Awaitable[_Result]]) -> _Result:
        async def run() -> _Result:
            async with self._access.open(self._base) as maas:
                return await work(maas)

        told = f"`sstream-proxy connect maas {self._base} --check` tells how far it is, --undo takes it back"
        return run_as_owner(self._config, run, told)


def _as_known(site: Site, target: Target) -> Target:
    """Return the target with the other names by which a MAAS has it already. Blocks."""
    return replace(target, other_names=other_names(target.url, (one.url for one in site.sources)))


def _show(steps: Sequence[Step]) -> None:
    for step in steps:
        for number, line in enumerate(step.lines):
            click.echo(f"  {'  ' if number else '- '}{printable(line)}")
