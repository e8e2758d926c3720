"""Measure sstream-proxy beside nginx, Apache, Squid and Varnish, as far as they are installed.

    python bench/run.py                       everything
    python bench/run.py small large           some scenarios
    python bench/run.py --quick               a small part of the work, to see that it runs

Rounds alternate between the servers, figures are medians, and bars are held
against ratios within the same rounds: a machine that changes its speed changes
it for all.
"""

import argparse
import shutil
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import SubprocessError

import machine
import network
import profiling
import remarks
import report
from figures import Effort, Finding, Note
from scenarios import SCENARIOS

_QUICK = Effort(rounds=1, seconds=1, share=1 / 16)
_FULL = Effort()
_FAILURES = (SystemExit, RuntimeError, OSError, ValueError, LookupError, ArithmeticError, SubprocessError)
"""What a scenario may end with where something that it needs is missing or does not work."""


def main() -> None:
    """Run the scenarios that the command line names."""
    options = _parse()
    if options.profile is not None:
        profiling.keep_profiles(options.profile)
    effort = _QUICK if options.quick else _FULL
    if options.rounds is not None:
        effort = Effort(options.rounds, effort.seconds, effort.share)
    network.isolate()
    about = machine.describe() | {"load before": machine.load_average()}
    for name, text in about.items():
        print(f"# {name}: {text}")
    chapters: list[report.Chapter] = []
    for name in options.scenarios or SCENARIOS:
        chapters.append(_run(name, effort))
        about["load after"] = machine.load_average()
        about["took"] = f"{sum(one.took_s for one in chapters) / 60:.0f} minutes"
        _write(options, about, chapters)
    missed = [bar for chapter in chapters for bar in chapter.bars if not bar.is_met]
    print(f"\n# load after: {about['load after']}; took {about['took']}; bars not met: {len(missed)}")
    for bar in missed:
        print(report.bar_line(bar))


def _parse() -> argparse.Namespace:
    listed = "\n".join(f"  {name:12} {_title(name)}" for name in SCENARIOS)
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\nscenarios:\n{listed}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: all")
    parser.add_argument("--rounds", type=int, help=f"of each measurement, {_FULL.rounds} unless told")
    parser.add_argument("--quick", action="store_true", help="one short round of little; bars mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them there, as SVG")
    parser.add_argument("--results", type=Path, metavar="FILE", help="write them there, as Markdown")
    parser.add_argument(
        "--profile", type=Path, metavar="FOLDER", help="profile ours with py-spy; figures mean nothing then"
    )
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are: {', '.join(SCENARIOS)}")
    return options


def _run(name: str, effort: Effort) -> report.Chapter:
    print(f"\n## {name}: {_title(name)}", flush=True)
    machine.join_free_memory()
    began = time.monotonic()
    findings: list[Finding] = []
    for finding in _findings(name, effort):
        findings.append(finding)
        print(report.line(finding), flush=True)
    took_s = time.monotonic() - began
    title = textwrap.dedent(SCENARIOS[name].__doc__ or "").strip()
    chapter = report.Chapter(name, title, findings, remarks.collect(), took_s)
    for line in report.note_lines(chapter.remarks):
        print(line)
    print(f"# {name} took {took_s:.0f} s", flush=True)
    return chapter


def _findings(name: str, effort: Effort) -> Iterator[Finding]:
    """Yield what a scenario finds; one that fails must not cost the figures of the others."""
    if missing := _missing(name, "NEEDS"):
        yield Note(f"Not measured: {', '.join(missing)} is not installed.")
        return
    for program in _missing(name, "BESIDE"):
        remarks.note_left_out(program, "it is not installed")
    try:
        yield from SCENARIOS[name].measure(effort)
    except _FAILURES as error:
        yield Note(f"FAILED: {type(error).__name__}: {error}")


def _missing(name: str, list_name: str) -> list[str]:
    """Return the programs of a scenario's list that are not installed."""
    return [one for one in getattr(SCENARIOS[name], list_name, ()) if shutil.which(one) is None]


def _title(name: str) -> str:
    return (SCENARIOS[name].__doc__ or "").strip().splitlines()[0]


def _write(options: argparse.Namespace, about: dict[str, str], chapters: list[report.Chapter]) -> None:
    """Write what there is so far: a long run that breaks off leaves what it found."""
    if options.json is not None:
        options.json.write_text(report.as_json(about, chapters))
    if options.results is not None:
        options.results.write_text(report.as_markdown(about, chapters))
    if options.plot is not None:
        options.plot.write_bytes(report.as_plot(chapters))


if __name__ == "__main__":
    main()
