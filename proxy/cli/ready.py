"""`ready`: prove that a selection can be served with upstream gone."""

import asyncio
from pathlib import Path

import click
import uvloop

from proxy.cli.options import (
    chosen_mirrors,
    config_option,
    data_dir_option,
    load,
    make_selection,
    selection_options,
)
from proxy.config import Config
from proxy.errors import ProxyError
from proxy.jobs.choosing import choose
from proxy.jobs.ready import Flaw, find_flaws
from proxy.jobs.selection import Selection
from proxy.runtime import open_runtime


@click.command()
@config_option
@data_dir_option
@selection_options
@click.option("--deep", is_flag=True, help="Hash every file again instead of comparing sizes.")
def ready(
    config_file: Path | None,
    data_dir: Path | None,
    filters: tuple[str, ...],
    mirrors: tuple[str, ...],
    newest: int | None,
    maas: str | None,
    arch: str | None,
    deep: bool,
) -> None:
    """Prove that everything the FILTERs select is here and verified.

    Upstream is not asked. Exit code 0: `serve --offline` can answer a complete
    import of it. Exit code 1: the list of what is missing or wrong follows.
    """
    config = load(config_file, data_dir=data_dir, offline=True)
    selection = make_selection(filters, newest, maas, arch)
    names = chosen_mirrors(config, mirrors)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            count, flaws = runner.run(_find(config, names, selection, deep=deep))
    except ProxyError as error:
        raise click.ClickException(f"not ready: {error}") from error
    for flaw in flaws:
        click.echo(f"{flaw.mirror} {flaw.path} {flaw.problem}")
    if flaws:
        raise click.ClickException(f"not ready: {len(flaws)} of {count} files are missing or wrong")
    click.echo(f"ready: {count} files, {'hashed again' if deep else 'verified when they were stored'}")


async def _find(
    config: Config, mirrors: list[str], selection: Selection, *, deep: bool
) -> tuple[int, list[Flaw]]:
    async with open_runtime(config) as cache:
        chosen = await choose(cache, mirrors, selection)
        files = [*chosen.documents, *chosen.wanted]
        return len(files), await find_flaws(cache, files, deep=deep)
