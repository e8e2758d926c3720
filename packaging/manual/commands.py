"""Facts of the commands: what click would show as `--help`, in parts."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

import click

from proxy.cli import main

PROGRAM = "sstream-proxy"
USUAL_EXIT_CODES = (
    "0 done, 1 failed, 2 wrong usage or configuration, 3 done in part, 4 refused, 130 interrupted, "
    "143 the same by SIGTERM"
)


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A part of a command's description."""

    text: str
    is_literal: bool
    """Whether its lines are to be shown as they are, such as examples."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command, as it is written and what it does."""

    form: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command; the program itself is the one without a name."""

    name: str
    summary: str
    usage: str
    description: tuple[Paragraph, ...]
    options: tuple[Option, ...]

    @property
    def title(self) -> str:
        """What is typed to run it."""
        return f"{PROGRAM} {self.name}".strip()

    @property
    def says_exit_codes(self) -> bool:
        """Whether its description tells its exit codes, so that the usual ones need not hold."""
        return any("exit code" in one.text.lower() for one in self.description)

    @property
    def page(self) -> str:
        """The name of its manual page."""
        return self.title.replace(" ", "-")


def commands() -> Iterator[Command]:
    """Yield the program itself, then each command in the order of `--help`, each before its own commands."""
    return _with_own("", main, click.Context(main, info_name=PROGRAM, **main.context_settings))


def _with_own(name: str, command: click.Command, context: click.Context) -> Iterator[Command]:
    yield _command(name, command, context)
    if isinstance(command, click.Group):
        for one in command.list_commands(context):
            own = command.get_command(context, one)
            if own is not None and not own.hidden:
                yield from _with_own(
                    f"{name} {one}".strip(), own, click.Context(own, parent=context, info_name=one)
                )


def _command(name: str, command: click.Command, context: click.Context) -> Command:
    description = tuple(_paragraphs(command.help or ""))
    return Command(
        name=name,
        summary=command.get_short_help_str(limit=200)
        if name
        else "Serve simplestreams from a verified cache.",
        usage=" ".join([context.command_path, *command.collect_usage_pieces(context)]),
        description=description,
        options=tuple(
            Option(*record)
            for parameter in command.get_params(context)
            if isinstance(parameter, click.Option)
            and (record := parameter.get_help_record(context)) is not None
        ),
    )


def _paragraphs(text: str) -> Iterator[Paragraph]:
    """Split a docstring as click does: what follows a backspace keeps its lines."""
    for part in inspect.cleandoc(text).split("\n\n"):
        lines = part.strip("\n").split("\n")
        if lines[0] != "\b":
            yield Paragraph(" ".join(line.strip() for line in lines), is_literal=False)
            continue
        introduction = [line for line in lines[1:] if not line.startswith("  ")]
        if introduction:
            yield Paragraph(" ".join(introduction), is_literal=False)
        literal = [line.removeprefix("  ") for line in lines[1:] if line.startswith("  ")]
        if literal:
            yield Paragraph("\n".join(literal), is_literal=True)
