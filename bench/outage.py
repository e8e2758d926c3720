"""An origin dead for 30 s in the middle of an item, and a client that gives up after 10 s: in real time."""

import asyncio
import json
import logging
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.keys import SigningKey
from support.outage import Outage, survive


def main() -> None:
    """Run both kinds of death side by side and print what the client saw."""
    logging.disable()
    with SigningKey() as key, tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_run(Path(folder), key))
    for death, outage in found.items():
        print(json.dumps({"bench": "outage", "origin": death, **asdict(outage)}))
    if not all(outage.is_right for outage in found.values()):
        sys.exit("a client did not get the right bytes")


async def _run(folder: Path, key: SigningKey) -> dict[str, Outage]:
    for death in ("down", "silent"):
        (folder / death).mkdir()
    down, silent = await asyncio.gather(
        survive("down", 1.0, folder / "down", key), survive("silent", 1.0, folder / "silent", key)
    )
    return {"down": down, "silent": silent}


if __name__ == "__main__":
    main()
