"""What is odd on this machine about the folders that a configuration names as origins.

All functions block, and may hang where a file server is silent. A folder that is not there
is no fault: its disk may be mounted later, and is asked again until then.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from proxy.config.addresses import overlap_problem
from proxy.config.config import Config
from proxy.mirror import Mirror
from proxy.sources.addresses import folder_of, is_folder


def folder_faults(config: Config) -> Iterator[str]:
    """Yield which folders are, by way of links, where the proxy's own files are."""
    data_dir = Path(os.path.realpath(config.data_dir))
    for mirror, url in _folders(config):
        real = Path(os.path.realpath(folder_of(url)))
        if problem := overlap_problem(real.as_uri(), data_dir):
            yield f'mirror "{mirror.name}": {url} {problem}'


def folder_doubts(config: Config) -> Iterator[str]:
    """Yield which folders have no tree now, or may not be read, and what is never read of them."""
    for mirror, url in _folders(config):
        told = f'mirror "{mirror.name}": {url}'
        try:
            if not (folder_of(url) / "streams/v1").is_dir():
                yield f"{told} has no streams/v1/ now: is it the right folder, and is its disk mounted?"
        except OSError as error:
            yield f"{told} cannot be read by this user: {error.strerror}"
    if config.offline and any(_folders(config)):
        yield "offline is true, so that folders are not read either: only what is in the store is served"


def _folders(config: Config) -> Iterator[tuple[Mirror, str]]:
    for mirror in config.mirrors:
        for url in mirror.origins:
            if is_folder(url):
                yield mirror, url
