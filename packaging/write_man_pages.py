"""Write the manual pages from the code, compressed as distributions have them.

python packaging/write_man_pages.py FOLDER

The installed `sstream-proxy` is described; $SOURCE_DATE_EPOCH is their date.
"""

import gzip
import os
import sys
import time
from pathlib import Path

from manual.roff import pages

from proxy import __version__


def main(folder: Path) -> None:
    """Write man1 and man5 below a folder."""
    moment = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    date = time.strftime("%Y-%m-%d", time.gmtime(moment))
    for name, text in pages(__version__, date).items():
        target = folder / f"man{name[-1]}" / f"{name}.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
        print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
