"""What a person or a program is told of an export."""

from typing import Any

import click

from proxy.bundles.bundle import IMPORTER_PATH
from proxy.bundles.oci import MOST_PUSHED_BYTES, too_large_for_registries
from proxy.bundles.tar import tar_bytes
from proxy.cli.show import tell
from proxy.digest import digest_of
from proxy.jobs.exporting.export import Report
from proxy.jobs.exporting.recipes import Survey
from proxy.readable import counted, printable, size

_MOST_SHOWN = 20


class ExportOutput:
    """What a person or a program is told of an export."""

    def __init__(self, *, as_json: bool, to_errors: bool) -> None:
        self._as_json = as_json
        self._to_errors = to_errors

    def survey(self, survey: Survey) -> None:
        """Tell what would be written, and what is not here."""
        parts = survey.parts
        if self._as_json:
            self._tell(
                {
                    "event": "plan",
                    "carried_files": survey.carried_files,
                    "carried_bytes": survey.carried_bytes,
                    "known_files": survey.known_files,
                    "known_bytes": survey.known_bytes,
                    "parts": [{"files": len(one.blobs), "bytes": tar_bytes(one)} for one in parts],
                    "missing": _missing(survey),
                }
            )
            return
        for one in survey.contents:
            self._say(f"{one.mirror}: {one.selection}, generation {one.generation}")
        self._say(
            f"  to be carried   {size(survey.carried_bytes)} in {counted(survey.carried_files, 'file')}"
        )
        if survey.known_files:
            self._say(
                f"  there already   {size(survey.known_bytes)} in {counted(survey.known_files, 'file')}"
            )
        for part in parts:
            self._say(f"  part {part.number} of {part.of:<7} {_amount(tar_bytes(part), len(part.blobs))}")
        self._name_missing(survey)
        self._warn_of_registries(survey)

    def report(self, report: Report) -> None:
        """Tell what was written, and what could not be."""
        if self._as_json:
            self._tell(
                {
                    "event": "summary",
                    "is_written": report.is_written,
                    "parts": report.written,
                    "carried_bytes": report.survey.carried_bytes,
                    "reused_files": report.reused_files,
                    **{f"{way.value}_bytes": count for way, count in report.ways.items()},
                    "importer_sha256": next(iter(_importers(report.survey)), None),
                    "missing": _missing(report.survey),
                }
            )
            return
        self._name_missing(report.survey)
        for name in report.written:
            self._say(f"wrote {name}")
        how = [f"{size(count)} {way.value}" for way, count in report.ways.items()]
        if report.reused_files:
            how.append(f"{counted(report.reused_files, 'file')} there already from an earlier run")
        if report.is_written:
            self._say(f"  {', '.join(how) or 'nothing was new'}")
            if not self._to_errors:
                each = "" if len(report.written) == 1 else " of each of them"
                self._say(f"  at the other site: sstream-proxy import PATH{each}")
            for digest in _importers(report.survey):
                self._say(f"  {IMPORTER_PATH}, for sites without sstream-proxy, has the SHA-256 {digest}")
        self._warn_of_registries(report.survey)

    def _warn_of_registries(self, survey: Survey) -> None:
        for one in too_large_for_registries(survey.parts[0].index.data) if survey.parts else ():
            self._say(
                f"  {one.name} has too many files to be pushed into a registry: its manifest has"
                f" {size(one.size_bytes)}, and they take {size(MOST_PUSHED_BYTES)}; export fewer at a time"
            )

    def _name_missing(self, survey: Survey) -> None:
        for one in survey.missing[:_MOST_SHOWN]:
            self._say(
                printable(f"NOT HERE {one.mirror} {one.file.path} {one.problem} ({size(one.file.size)})")
            )
        if not survey.missing:
            return
        lacking = {one.file.sha256: one.file.size for one in survey.missing}
        more = len(survey.missing) - _MOST_SHOWN
        if more > 0:
            self._say(f"and {more} more")
        what = f"{counted(len(lacking), 'file is', 'files are')} not here, {size(sum(lacking.values()))}"
        click.echo(
            f"not complete: {what}; `prefetch` with the same words fetches what can be had,"
            " --incomplete writes a bundle without",
            err=True,
        )

    def _say(self, text: str) -> None:
        click.echo(text, err=self._to_errors)

    def _tell(self, event: dict[str, Any]) -> None:
        tell(event, err=self._to_errors)


def _importers(survey: Survey) -> set[str]:
    """Return the digest of the plain importer, if the bundle has it."""
    return {digest_of(one.data) for part in survey.parts for one in part.texts if one.path == IMPORTER_PATH}


def _amount(count: int, files: int) -> str:
    return f"{size(count)} in {counted(files, 'file')}"


def _missing(survey: Survey) -> list[dict[str, Any]]:
    return [
        {"mirror": one.mirror, "path": one.file.path, "bytes": one.file.size, "problem": one.problem}
        for one in survey.missing
    ]
