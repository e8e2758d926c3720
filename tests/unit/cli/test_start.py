"""What commands load: those that ask nobody start without the library that asks."""

import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import sys
from proxy.cli import main
try:
    main()
finally:
    print("loaded:", *{one.partition(".")[0] for one in sys.modules} & {"aiohttp", "msgspec"})
"""


@pytest.mark.parametrize(
    "arguments", ["export --dry-run", "import {folder}", "inventory", "ready --maas noble"]
)
def test_what_asks_nobody_loads_no_http(arguments: str, tmp_path: Path) -> None:
    command = arguments.format(folder=tmp_path).split()

    run = subprocess.run(
        [sys.executable, "-c", _RUN, *command, "--data-dir", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.stdout.splitlines()[-1:] == ["loaded: msgspec"], run
