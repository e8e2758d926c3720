"""Running a command's work with an open cache, and turning its end into an exit code."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import uvloop

from proxy.cli.entry import is_of_output
from proxy.cli.interruption import Interruption
from proxy.cli.owner import become_owner, warn_of_strangers
from proxy.config.config import Config
from proxy.errors import ProxyError
from proxy.logs.set_up import log_of_command
from proxy.runtime import open_runtime
from proxy.service.cache import Cache
from proxy.store.files import StoreFault, astray
from proxy.store.owners import Owner, is_unused

COMPLETE = 0
FAILED = 1
PARTIAL = 3
REFUSED = 4

INTERRUPTED = 130

_GOES_ON = "what has arrived is kept, the next run goes on from there"

_Result = TypeVar("_Result")


class Refused(click.ClickException):
    """What a command refuses to do, and why."""

    exit_code = REFUSED


def run_with_cache(
    config: Config, work: Callable[[Cache], Awaitable[_Result]], *, if_interrupted: str = _GOES_ON
) -> _Result:
    """Run `work` with the configured cache open, and return what it returns.

    What it raises becomes a message and an exit code; `if_interrupted` is told if it is
    interrupted, which cancels it. Events that the result tells of
    anyway, such as an origin that failed, are not logged besides.
    """

    async def run() -> _Result:
        async with open_runtime(config) as cache:
            return await work(cache)

    return run_as_owner(config, run, if_interrupted)


def run_with_stored(config: Config, work: Callable[[Cache], Awaitable[_Result]]) -> _Result:
    """Run `work` over what is stored already, as `run_with_cache` does; where nothing is, nothing is made."""
    check_stored(config)
    return run_with_cache(config, work)


def check_stored(config: Config) -> None:
    """Raise ClickException where nothing has been stored yet, so that there is nothing to look at."""
    data_dir = config.data_dir
    if is_unused(data_dir):
        if problem := astray(data_dir):
            raise click.ClickException(problem)
        is_there = data_dir.exists()
        what = f"nothing is stored in {data_dir} yet" if is_there else f"there is no folder {data_dir}"
        raise click.ClickException(
            f"{what}: if another data directory is meant, name it by --data-dir, or by data_dir in the "
            "configuration; `serve`, `prefetch` and `import` begin to fill this one"
        )


def run_as_owner(config: Config, work: Callable[[], Awaitable[_Result]], if_interrupted: str) -> _Result:
    """Run `work` as whoever owns the data directory, and return what it returns; ends as `run_with_cache`."""
    log_of_command("error", config.log.format)
    become_owner(config)
    warn_of_strangers(config.data_dir, Owner.running())

    interruption = Interruption(if_interrupted)

    async def run() -> _Result:
        interruption.watch()
        return await work()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        interruption.tell()
        raise SystemExit(interruption.exit_code) from None
    except ProxyError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        if is_of_output(error):
            raise
        raise click.ClickException(str(StoreFault.of(config.data_dir, error))) from error
    finally:
        interruption.unwatch()
