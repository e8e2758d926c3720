"""Options that several commands share, and how a configuration is loaded for them."""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import click

from proxy.config.addresses import url_problem
from proxy.config.config import Config
from proxy.config.errors import ConfigError
from proxy.config.load import find_config_file, load_config
from proxy.connect.addresses import without_password
from proxy.errors import ProxyError
from proxy.jobs.rules import Rule
from proxy.jobs.selection import Selection
from proxy.readable import meant, times
from proxy.simplestreams.filters import Filter, FilterError

Command = Callable[..., Any]
Extension = Callable[[Command], Command]
"""What adds an option to a command, or several."""


class UsageFault(click.ClickException):
    """A fault of the configuration or command line."""

    exit_code = 2

    @classmethod
    def of_configuration(cls, faults: Sequence[str]) -> Self:
        """Name all faults of a configuration: below each other, if there are several."""
        return cls("\n".join(faults if len(faults) == 1 else ["", *faults]))


_STARTED_AS = os.geteuid()
"""Whose default folder is meant, even when root has become another user since."""
MEANT_RELEASE = "; a release is selected by --maas RELEASE, or by a filter"
"""What somebody may have meant by a name that is no mirror's."""
_MEANT_NAME = "; a mirror is named by --mirror NAME, a release by --maas RELEASE"
"""What somebody may have meant by a name that is no filter."""
_EXAMPLES = {"--maas": "noble,jammy", "--arch": "amd64,arm64"}


class GivenUrl(click.ParamType):  # type: ignore[type-arg]  # click 8.1's is not generic
    """A URL of a web server, which may hold a password."""

    name = "URL"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it, or fail without repeating the password."""
        if problem := url_problem(without_password(value)):
            self.fail(problem, param, ctx)
        return value


class GivenPath(click.Path):
    """A path, and not the empty text that a variable without a value leaves."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


config_option = click.option(
    "--config",
    "config_file",
    type=GivenPath(path_type=Path),
    help="Configuration; else $SSTREAM_PROXY_CONFIG, /etc/sstream-proxy/config.toml, or built-in defaults.",
)


def tell_if_new(data_dir: Path | None) -> None:
    """Tell of a named folder that is not there: with a typing error, nothing that is meant is in it."""
    try:
        if data_dir is not None:
            data_dir.lstat()
    except FileNotFoundError:
        click.echo(f"note: there is no folder {data_dir} yet; it will be made", err=True)
    except OSError:
        pass  # Whoever opens it tells.


def _told_if_new(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    tell_if_new(value)
    return value


def _data_dir_option(**how: Any) -> Extension:
    what = "Where images, and the records of them, are kept."
    return click.option("--data-dir", type=GivenPath(path_type=Path), help=what, **how)


data_dir_option = _data_dir_option(callback=_told_if_new)
"""For commands that make the data directory."""
stored_data_dir_option = _data_dir_option()
"""For commands that only look at what is stored, or that know later whether they do."""

offline_option = click.option(
    "--offline", is_flag=True, default=None, help="Use what is in the cache; never ask upstream."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which items a command line means."""

    filters: tuple[str, ...]
    mirrors: tuple[str, ...]
    newest: int | None
    maas: tuple[str, ...]
    arch: tuple[str, ...]

    @property
    def is_selecting(self) -> bool:
        """Whether it says more than a mirror."""
        return bool(self.filters or self.newest or self.maas)

    def naming_mirrors(self) -> "Asked":
        """Return the same with the words that are no filters as names of mirrors."""
        names = tuple(one for one in self.filters if _is_name(one))
        filters = tuple(one for one in self.filters if one not in names)
        return replace(self, filters=filters, mirrors=(*self.mirrors, *names))

    def selection(self) -> Selection:
        """Return what is selected; raises UsageFault."""
        if self.arch and not self.maas:
            raise UsageFault("--arch goes with --maas; as a filter write 'arch=amd64'")
        for option, texts in (("--maas", self.maas), ("--arch", self.arch)):
            if not all(map(_parts, texts)):
                raise UsageFault(f"{option} is empty: write names, such as {option} {_EXAMPLES[option]}")
        try:
            return Selection(
                filters=tuple(Filter.parse(one) for one in self.filters),
                maas_releases=_parts(",".join(self.maas)),
                maas_arches=_parts(",".join(self.arch)),
                newest=self.newest,
            )
        except FilterError as error:
            raise UsageFault(f"{error}{_MEANT_NAME if _is_name(error.expression) else ''}") from error
        except ProxyError as error:
            raise UsageFault(str(error)) from error

    def of_mirrors(self, config: Config) -> list[str]:
        """Return the names of the mirrors meant; raises UsageFault."""
        return chosen_mirrors(config, self.mirrors, MEANT_RELEASE)


def _is_name(word: str) -> bool:
    return not {"=", "~"} & set(word)


def option_once(*names: str, **how: Any) -> Extension:
    """Return an option that says what is meant: of two of them, none may be passed over in silence."""

    def only(_: click.Context, param: click.Parameter, values: tuple[Any, ...]) -> Any:
        if len(values) > 1:
            raise click.UsageError(f"{param.opts[0]} is given {times(len(values))}: give it once")
        return values[0] if values else None

    if "default" in how:
        how["default"] = [how["default"]]
    return click.option(*names, multiple=True, callback=only, **how)


def grouped(name: str, group: type[Any], *options: Extension) -> Extension:
    """Return options that a command gets as one value, called `name`: a dataclass with a field for each."""
    fields = [field.name for field in dataclasses.fields(group)]

    def extend(command: Command) -> Command:
        @functools.wraps(command)
        def with_group(**values: Any) -> Any:
            return command(**{name: group(**{field: values.pop(field) for field in fields})}, **values)

        extended: Command = with_group
        for option in reversed(options):
            extended = option(extended)
        return extended

    return extend


selection_options = grouped(
    "asked",
    Asked,
    click.argument("filters", nargs=-1, metavar="[FILTER]..."),
    click.option("--mirror", "mirrors", multiple=True, metavar="NAME", help="Default: the first one."),
    option_once(
        "--max",
        "newest",
        type=click.IntRange(1),
        help="Only the newest versions of each product; else all, with --maas 1.",
    ),
    click.option(
        "--maas",
        multiple=True,
        metavar="RELEASES",
        help="What MAAS needs for these, such as noble,jammy.",
    ),
    click.option(
        "--arch", multiple=True, metavar="ARCHES", help="With --maas: architectures, such as amd64,arm64."
    ),
)
"""Those that say which items are meant."""


def chosen_mirrors(config: Config, names: tuple[str, ...], otherwise: str = "") -> list[str]:
    """Return the named mirrors, or the first one; raises UsageFault for a name that is none.

    `otherwise` says what else somebody may have meant by a name that is like none of them.
    """
    known = [mirror.name for mirror in config.mirrors]
    for name in names:
        if name not in known:
            meaning = meant(name, known) or otherwise
            raise UsageFault(f"there is no mirror {name!r}; there are: {', '.join(known)}{meaning}")
    return list(dict.fromkeys(names)) or known[:1]


def chosen_rules(config: Config, names: tuple[str, ...]) -> list[Rule]:
    """Return the named prefetch rules, or all; raises UsageFault for a name that is none."""
    known = {rule.name: rule for rule in config.prefetch}
    for name in names:
        if name not in known:
            there = f"there are: {', '.join(known)}" if known else "none is configured"
            raise UsageFault(f"there is no [[prefetch]] rule {name!r}; {there}{meant(name, known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(config.prefetch)


def load(config_file: Path | None, **overrides: object) -> Config:
    """Return the configuration for a command; raises UsageFault with every fault of it."""
    try:
        return read_config(config_file, **overrides)
    except ConfigError as error:
        raise UsageFault.of_configuration(str(error).splitlines()) from error


def read_config(config_file: Path | None, **overrides: object) -> Config:
    """Return the configuration; raises ConfigError with every fault of it."""
    found = find_config_file(config_file, os.environ)
    return load_config(found, os.environ, overrides=overrides, uid=_STARTED_AS)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
