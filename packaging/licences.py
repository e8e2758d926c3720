"""Whether every package that a release needs may be distributed with it.

    python packaging/licences.py packaging/requirements.lock

Looks at the metadata of what is installed beside the running Python, package by package of
the lock. Exit code 1 when a licence is unknown, or not in the list below.
"""

import re
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import NamedTuple

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "PSF-2.0",
    "Unlicense",
    # These ask for their own files to stay free and replaceable. We use them unchanged, as
    # libraries of their own that anybody can replace by pip.
    "LGPL-3.0-or-later",
    "MPL-2.0",
}
"""SPDX identifiers of licences under which something may be shipped beside Apache-2.0."""

_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    # Either of the two; both are allowed.
    "BSD License": "BSD-3-Clause",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)( ;)?")


class Pin(NamedTuple):
    """A package of a lock."""

    name: str
    version: str
    is_conditional: bool
    """Some machines do without it."""


def pins(lock: str) -> list[Pin]:
    """Return the packages of a lock."""
    matches = [match for line in lock.splitlines() if (match := _PIN.match(line))]
    return [Pin(match[1], match[2], match[3] is not None) for match in matches]


def licence(expression: str | None, text: str | None, classifiers: Iterable[str]) -> str | None:
    """Return a package's licence as an SPDX expression; None when its metadata does not tell.

    `expression` is what current metadata says (PEP 639); older ones have classifiers, and
    some only a text, which counts when it is an identifier. Several classifiers mean that
    all of them have to be allowed.
    """
    if expression:
        return expression
    prefix = "License :: OSI Approved :: "
    told = [one.removeprefix(prefix) for one in classifiers if one.startswith(prefix)]
    if told and all(one in _CLASSIFIERS for one in told):
        return " AND ".join(sorted(_CLASSIFIERS[one] for one in told))
    return text if not told and text in ALLOWED else None


def is_allowed(expression: str) -> bool:
    """Whether an SPDX expression can be met. Parentheses and exceptions are for a person to judge."""
    return any(
        all(one.strip() in ALLOWED for one in choice.split(" AND ")) for choice in expression.split(" OR ")
    )


def main(lock: Path) -> int:
    """Print each package with its licence; return the exit code."""
    refused = 0
    for name, version, is_conditional in pins(lock.read_text()):
        try:
            told = metadata(name)
        except PackageNotFoundError:
            refused += not is_conditional
            absence = "is not for this machine" if is_conditional else "<- NOT INSTALLED"
            print(f"{name:20} {version:12} {absence}")
            continue
        found = licence(told["License-Expression"], told["License"], told.get_all("Classifier") or [])
        is_good = told["Version"] == version and found is not None and is_allowed(found)
        refused += not is_good
        verdict = "" if is_good else f"  <- NOT ALLOWED (installed: {told['Version']})"
        print(f"{name:20} {version:12} {found or 'unknown'}{verdict}")
    print(f"{refused} licences are unknown or not allowed" if refused else "all licences are allowed")
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
