"""Write the reference pages of docs/ from the code; a test tells when that was forgotten.

python packaging/write_reference.py
"""

from pathlib import Path

from manual.markdown import pages

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"


def main() -> None:
    """Write all pages that the code makes."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
        print(f"docs/reference/{name}: {text.count(chr(10))} lines")


if __name__ == "__main__":
    main()
