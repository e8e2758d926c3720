"""One service for MAAS, by http, and for LXD, by https: each address speaks what it is told to."""

from pathlib import Path

import pytest
from support.certificates import make_certificate
from support.serving import run_service, write_config
from support.tree import SignedTree
from support.wire import Wire

from proxy.mirror import Mirror

INDEX = "streams/v1/index.sjson"


@pytest.mark.parametrize("plain_first", [True, False])
async def test_an_address_with_http_before_it_speaks_no_tls(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, plain_first: bool
) -> None:
    tree.publish()
    certificate = make_certificate(tmp_path)
    config = write_config(tmp_path, mirror, certificate=certificate)
    entries = ['"http://127.0.0.1:0"', '"localhost:0"']
    config.write_text(
        config.read_text().replace(
            'listen = ["127.0.0.1:0"]', f"listen = [{', '.join(entries if plain_first else entries[::-1])}]"
        )
    )
    async with run_service(config) as service:
        (line,) = (one for one in service.banner.splitlines() if "listening on" in one)
        urls = [url.strip() for url in line.partition("listening on")[2].split(",")]
        plain, secure = urls if plain_first else urls[::-1]
        assert (plain.partition("://")[0], secure.partition("://")[0]) == ("http", "https")
        async with Wire.to(plain) as wire:
            assert (await wire.ask(mirror.mount + INDEX)).status == 200
        async with Wire.to(secure.replace("127.0.0.1", "localhost"), certificate.client) as wire:
            assert (await wire.ask(mirror.mount + INDEX)).status == 200
        async with Wire.to(secure) as wire:
            with pytest.raises(EOFError):
                await wire.ask(mirror.mount + INDEX)
