"""A copy of what a cache knows, without its items, in which a rehearsal does what an import would do.

Records and lists are copied, so the copy decides by the functions and the facts by which the cache does. All
functions block.
"""

import contextlib
import shutil
from pathlib import Path

from proxy.documents.records import documents_in_use
from proxy.jobs.importing.lacking import stored_contents
from proxy.jobs.importing.waiting import all_waiting
from proxy.store.ledger import Ledger, copy_ledger
from proxy.store.storage import open_store, open_store_to_read


def copy_known(data_dir: Path, apart: Path) -> None:
    """Copy to another folder what a cache knows. Raises OSError and StoreFault."""
    folder = data_dir / "generations"
    (apart / folder.name).mkdir()
    for file in folder.glob("*.json"):
        shutil.copyfile(file, apart / folder.name / file.name)
    copy_ledger(data_dir / "ledger", apart / "ledger")
    _copy_documents(data_dir, apart)


def _copy_documents(data_dir: Path, apart: Path) -> None:
    """Copy the lists that are served, and those of generations that wait."""
    store, copies = open_store_to_read(data_dir), open_store(apart)
    with contextlib.closing(Ledger(apart / "ledger")) as ledger:
        wanted = documents_in_use(ledger)
        for one in (one for found in all_waiting(ledger).values() for one in found):
            wanted.add(one.contents)
            contents = stored_contents(store, one.contents)
            wanted |= {file.sha256 for file in contents.documents} if contents is not None else set()
    for digest in wanted:
        data = store.read(digest)
        if data is not None:
            copies.put(data)
