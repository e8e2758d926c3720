"""Where the real data is, and how to lay it out as it was published."""

import shutil
from pathlib import Path

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"

_JUJU = FIXTURES / "juju+juju"
UBUNTU_KEY = _JUJU / "keys" / "ubuntu-cloud-images.asc"
UBUNTU_FINGERPRINT = "4A3CE3CD565D7EB5C810E2B97FF3F408476CF100"
INDEX_2016 = _JUJU / "2016-11-04" / "index.sjson"
PRODUCTS_2016 = _JUJU / "2016-11-04" / "com.ubuntu.cloud-released-download.sjson"
PRODUCTS_2016_PATH = "streams/v1/com.ubuntu.cloud:released:download.sjson"
"""The path that the index names, unlike the file's name in the fixtures."""
INDEX_2020_OTHER_KEY = _JUJU / "2020-09-resigned-by-test-key" / "index.sjson"
"""Well signed, but by Juju's test key: under Ubuntu's keyring it must be refused."""
OTHER_KEY = _JUJU / "keys" / "juju-test-user.asc"
OTHER_FINGERPRINT = "D279259D4169F5843DBDD45CB8ADEEA9607AEAF0"
MAAS_2025 = FIXTURES / "canonical+maas"


def published_2016(root: Path) -> None:
    """Lay out Ubuntu's index and products list of November 2016 at the paths where they were served."""
    for source, path in ((INDEX_2016, "streams/v1/index.sjson"), (PRODUCTS_2016, PRODUCTS_2016_PATH)):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
