"""The commands that a document of the project tells its reader to type.

Needs Python's own library and nothing else.
"""

import re
from pathlib import Path


def commands(document: Path, heading: str) -> list[str]:
    """Return what stands in each block of bash below a heading of the second level."""
    text = document.read_text(encoding="utf-8")
    chapter = re.search(rf"^## {heading}$\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^ *```bash\n(.*?)\n *```", chapter[1] if chapter else "", re.MULTILINE | re.DOTALL)
    if not found:
        raise SystemExit(f"{document.name} has no command below `## {heading}`")
    return found
