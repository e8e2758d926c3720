"""Writing into a ledger what no release of this program would."""

import sqlite3
from contextlib import closing
from pathlib import Path


def tamper(directory: Path, table: str, statement: str, *values: object) -> int:
    """Change a table behind the ledger's back; return how many rows."""
    with closing(sqlite3.connect(directory / table / "cache.db")) as database, database:
        return database.execute(statement, values).rowcount
