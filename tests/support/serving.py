"""The service as real processes, configured by a file, beside an origin that runs in the test's loop."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.mirror import Mirror
from support.certificates import Certificate
from support.running import Service


def write_config(
    folder: Path,
    *mirrors: Mirror,
    certificate: Certificate | None = None,
    client_ca: Path | None = None,
    check_every: str = "0s",
    settings: str = "",
) -> Path:
    """Write a TOML file for one worker on a free loopback port; `settings` are further tables."""
    lines = ['listen = ["127.0.0.1:0"]', "workers = 1", f"data_dir = {_quoted(folder / 'data')}"]
    if certificate is not None:
        lines += ["[tls]", f"certificate = {_quoted(certificate.chain)}", f"key = {_quoted(certificate.key)}"]
        lines += [f"client_ca = {_quoted(client_ca or '')}", f'check_every = "{check_every}"']
    lines.append(settings)
    for mirror in mirrors:
        lines += [
            "[[mirror]]",
            f"name = {_quoted(mirror.name)}",
            f"mount = {_quoted(mirror.mount)}",
            f"origins = [{', '.join(map(_quoted, mirror.origins))}]",
            f"keyring = {_quoted(mirror.keyring)}",
            f"trust = {_quoted(mirror.trust.value)}",
            f"allow = [{', '.join(map(_quoted, mirror.allow))}]",
            f"users = [{', '.join(map(_quoted, mirror.users))}]",
        ]
    path = folder / "config.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


@asynccontextmanager
async def run_service(config: Path, env: dict[str, str] | None = None) -> AsyncIterator[Service]:
    """Run the service for the length of the context; its log lies beside its configuration."""
    log = config.with_suffix(".log")
    service = await asyncio.to_thread(lambda: Service("--config", str(config), env=env, log=log))
    try:
        yield service
    finally:
        await asyncio.to_thread(service.stop)


def _quoted(value: object) -> str:
    # A JSON string is a TOML string.
    return json.dumps(str(value))
