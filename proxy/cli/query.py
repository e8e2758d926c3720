"""`query`: list what the verified lists name, and what of it is here."""

import json
import re
from pathlib import Path

import click

from proxy.cli.options import (
    Asked,
    UsageFault,
    config_option,
    load,
    offline_option,
    option_once,
    selection_options,
    stored_data_dir_option,
    tell_if_new,
)
from proxy.cli.running import check_stored, run_with_cache
from proxy.jobs.choosing import choose_items
from proxy.jobs.selection import Selection
from proxy.readable import printable, size
from proxy.service.cache import Cache
from proxy.simplestreams.select import Choice
from proxy.store.protocols import ReadStore

FlatItem = dict[str, str]

_TOO_WIDE = re.compile(r"%(\([^)]*\))?[#0 +-]*\d{5,}")
"""A place in a format that would be filled up with more blanks than any field has letters."""


@click.command(short_help="List what the verified lists name.")
@config_option
@stored_data_dir_option
@offline_option
@selection_options
@click.option("--json", "as_json", is_flag=True, help="Write a list of flat objects.")
@option_once("--format", "form", metavar="FORMAT", help="Write each as FORMAT, such as '%(path)s %(size)s'.")
def query(
    config_file: Path | None,
    data_dir: Path | None,
    offline: bool | None,
    asked: Asked,
    as_json: bool,
    form: str | None,
) -> None:
    """List the items that the FILTERs select, as sstream-query does, from verified lists.

    \b
      sstream-proxy query 'os~grub' --offline
      sstream-proxy query --maas noble --arch amd64 --format '%(path)s %(size)s %(cached)s'

    Every item has all its fields, and `cached`: yes, partial or no.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir, offline=offline)
    selection, names = asked.selection(), asked.of_mirrors(config)
    if form is not None and _TOO_WIDE.search(form):
        raise UsageFault(f"--format {form!r} has a width of more than 4 digits")
    if config.offline:
        check_stored(config)
    else:
        tell_if_new(data_dir)
    rows = run_with_cache(config, lambda cache: _rows(cache, names, selection))
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif form is not None:
        for row in rows:
            click.echo(_filled(form, row))
    else:
        _print_table(rows)


async def _rows(cache: Cache, mirrors: list[str], selection: Selection) -> list[FlatItem]:
    chosen = await choose_items(cache, mirrors, selection)
    store = cache.storage.store
    return await cache.storage.threads.slow(
        lambda: [_row(mirror, choice, store) for mirror, choice in chosen.choices]
    )


def _row(mirror: str, choice: Choice, store: ReadStore) -> FlatItem:
    row = {"mirror": mirror, **choice.fields}
    if choice.file is not None:
        what = choice.file.digest, choice.file.size_bytes
        is_begun = store.stored_bytes(*what) > 0
        row["cached"] = "yes" if store.is_whole(*what) else "partial" if is_begun else "no"
    return row


def _filled(form: str, row: FlatItem) -> str:
    try:
        return form % row
    except KeyError as error:
        problem = f"an item has no field {error}"
    except (ValueError, TypeError) as error:
        problem = str(error)
    raise click.ClickException(f"--format {form!r} does not fit: {problem}; fields: {', '.join(sorted(row))}")


def _print_table(rows: list[FlatItem]) -> None:
    # Late: JSON is wanted fast.
    from rich.table import Table  # noqa: PLC0415

    from proxy.cli.console import PlainConsole  # noqa: PLC0415

    table = Table("product", "version", "item", "size", "cached", "path", box=None, header_style="bold")
    for row in rows:
        count = row.get("size", "")
        table.add_row(
            printable(row.get("product_name", "")),
            printable(row.get("version_name", "")),
            printable(row.get("item_name", "")),
            size(int(count)) if count.isdigit() else printable(count),
            row.get("cached", "-"),
            printable(row.get("path", "-")),
        )
    PlainConsole().print(table, soft_wrap=True)
