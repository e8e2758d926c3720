"""`pin`, `unpin`, `evict`, `purge`, `refresh`, `scrub`, `offline`: what an operator does to a cache.

They act on the data directory, beside a running server or without one.
"""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from proxy.cli.options import (
    Asked,
    UsageFault,
    chosen_mirrors,
    config_option,
    data_dir_option,
    load,
    option_once,
    selection_options,
    stored_data_dir_option,
    tell_if_new,
)
from proxy.cli.running import check_stored, run_with_cache
from proxy.cli.who import operator
from proxy.config.config import Config
from proxy.digest import InvalidDigest, parse_digest
from proxy.jobs.actions import BY_HAND, Actions, Aim
from proxy.jobs.audit import Done
from proxy.jobs.scrub import Scrubber
from proxy.readable import size
from proxy.runtime import open_rulebook
from proxy.service.cache import Cache

_name_option = option_once("--name", default=BY_HAND, show_default=True, help="What the pin is called.")
_digest_option = click.option(
    "--digest",
    "digests",
    multiple=True,
    metavar="SHA256",
    help="A stored image, whether or not a list names it.",
)


def _aimed(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which blobs are meant."""
    return config_option(stored_data_dir_option(_digest_option(selection_options(command))))


@click.command(short_help="Keep a selection from eviction.")
@_aimed
@_name_option
def pin(name: str, **options: Any) -> None:
    """Keep what the FILTERs select from eviction, whether it is here or still to come.

    \b
      sstream-proxy pin 'release=noble' 'version_name=20250718' --name before-upgrade
      sstream-proxy pin 'path=noble/amd64/20250718/squashfs'
    """  # noqa: D301 - click wants the backspace that \b is
    tell_if_new(options["data_dir"])
    config, aim = _aim(**options)
    _act(config, lambda actions: actions.pin(aim, name))


@click.command(short_help="Let go of a pin.")
@_aimed
@_name_option
def unpin(name: str, **options: Any) -> None:
    """Let go of a pin: of all that it keeps, or of what the FILTERs select.

    \b
      sstream-proxy unpin --name before-upgrade
      sstream-proxy unpin --name 'prefetch maas-stable: maas=noble'

    Eviction may take those blobs again. `stats` lists the pins.
    """  # noqa: D301 - click wants the backspace that \b is
    config, aim = _aim(**options, may_be_empty=True)
    _act_on_stored(config, lambda actions: actions.unpin(aim, name))


@click.command(short_help="Remove what no pin keeps.")
@_aimed
def evict(**options: Any) -> None:
    """Remove what the FILTERs select, but for what is pinned or being read.

    \b
      sstream-proxy evict 'release=focal'

    It comes back when somebody asks for it.
    """  # noqa: D301 - click wants the backspace that \b is
    config, aim = _aim(**options)
    _act_on_stored(config, lambda actions: actions.evict(aim))


@click.command(short_help="Remove with pins and all memory of it.")
@_aimed
def purge(**options: Any) -> None:
    """Remove what the FILTERs select, pinned or not, and all that is remembered of it.

    \b
      sstream-proxy purge 'path=noble/amd64/20250718/squashfs'

    Pins, partial downloads, and failures go, too: the next client has it fetched anew.
    """  # noqa: D301 - click wants the backspace that \b is
    config, aim = _aim(**options)
    _act_on_stored(config, lambda actions: actions.purge(aim))


@click.command(short_help="Check mirrors with their origins now.")
@config_option
@data_dir_option
@click.option(
    "--accept-older",
    is_flag=True,
    help="This once, let the mirrors named go back to what their origins publish, though it is older.",
)
@click.argument("mirrors", nargs=-1, metavar="[MIRROR]...")
def refresh(
    config_file: Path | None, data_dir: Path | None, mirrors: tuple[str, ...], *, accept_older: bool
) -> None:
    """Check mirrors with their origins now; all of them unless some are named.

    \b
      sstream-proxy refresh maas-stable

    Indexes and lists that are older than what was accepted are refused, for they
    may be an attack. --accept-older is for a publisher who has gone back on purpose,
    or dated something wrongly, and for a mirror that was given other origins. Signatures
    are checked all the same. Who did it is written to audit.log.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir)
    names = chosen_mirrors(config, mirrors) if mirrors else [mirror.name for mirror in config.mirrors]
    if accept_older and not mirrors:
        raise UsageFault("say which mirrors may go back: sstream-proxy refresh --accept-older MIRROR")
    _act(config, lambda actions: actions.accept_older(names) if accept_older else actions.refresh(names))


@click.command(short_help="Have every stored file hashed again.")
@config_option
@stored_data_dir_option
def scrub(config_file: Path | None, data_dir: Path | None) -> None:
    """Have a running server hash every stored file again, at the configured rate.

    \b
      sstream-proxy scrub

    What is damaged is set aside and fetched again. `stats` tells how far it is.
    """  # noqa: D301 - click wants the backspace that \b is
    _act_on_stored(load(config_file, data_dir=data_dir), lambda actions: actions.scrub())


@click.command(short_help="Stop asking origins, or ask them again.")
@config_option
@data_dir_option
@click.argument("state", type=click.Choice(["on", "off"]))
def offline(config_file: Path | None, data_dir: Path | None, state: str) -> None:
    """Stop asking origins, or ask them again; running servers obey at once.

    \b
      sstream-proxy offline on

    A server that was started with --offline, or is configured so, stays offline.
    """  # noqa: D301 - click wants the backspace that \b is
    _act(load(config_file, data_dir=data_dir), lambda actions: actions.offline(on=state == "on"))


def _aim(
    *,
    config_file: Path | None,
    data_dir: Path | None,
    asked: Asked,
    digests: tuple[str, ...],
    may_be_empty: bool = False,
) -> tuple[Config, Aim]:
    """Return the configuration, and which blobs are meant. Raises UsageFault."""
    config = load(config_file, data_dir=data_dir)
    if not asked.is_selecting and not digests and not may_be_empty:
        raise UsageFault("say which items are meant: filters such as 'release=noble', or --digest")
    try:
        aim = Aim(
            mirrors=tuple(asked.of_mirrors(config)),
            selection=asked.selection() if asked.is_selecting else None,
            digests=tuple(parse_digest(digest) for digest in digests),
        )
    except InvalidDigest as error:
        raise UsageFault(str(error)) from error
    return config, aim


def _act_on_stored(config: Config, act: Callable[[Actions], Awaitable[Done]]) -> None:
    check_stored(config)
    _act(config, act)


def _act(config: Config, act: Callable[[Actions], Awaitable[Done]]) -> None:
    async def work(cache: Cache) -> Done:
        book = await open_rulebook(config, cache)
        scrubber = Scrubber(cache, config.scrub, time.time)
        return await act(Actions(cache, config.prefetch, book, scrubber, operator()))

    done = run_with_cache(config, work)
    if done.problem:
        raise click.ClickException(done.problem)
    click.echo(f"{done.text} ({size(done.bytes)})" if done.blobs else done.text)
    if done.pins:
        click.echo(f"kept by the pins {', '.join(map(repr, done.pins))}", err=True)
