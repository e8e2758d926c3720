"""`check-config`: say everything that is wrong with a configuration."""

import os
from collections.abc import Iterator
from pathlib import Path

import click

from proxy.cli.options import UsageFault, config_option, load
from proxy.cli.owner import warn_of_strangers
from proxy.config.advice.exposure import exposures
from proxy.config.advice.machine import disk_faults, hasty_clients, idle_limits, try_keyrings
from proxy.config.advice.surroundings import oddities
from proxy.config.checks.names import doubted_answers, names_led_here, unused_pins
from proxy.config.config import Config
from proxy.config.folders import folder_doubts, folder_faults
from proxy.config.load import find_config_file
from proxy.config.lock import LockUnfit, load_lock
from proxy.config.tls import BadCertificate, tls_context
from proxy.jobs.selection import contradictions
from proxy.mirror import EVERYBODY, Mirror
from proxy.readable import counted
from proxy.sources.addresses import shown_url
from proxy.store.owners import meant_owner
from proxy.web.access.gate import AccessOptions


@click.command("check-config", short_help="Name every fault of a configuration.")
@config_option
def check_config(config_file: Path | None) -> None:
    """Check the configuration and say everything that is wrong with it, by key.

    \b
      sstream-proxy check-config --config new.toml
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file)
    path = find_config_file(config_file, os.environ)
    faults, warnings = _found_by_trying(config)
    if faults:
        raise UsageFault.of_configuration([f"{path or 'built-in defaults'}: {fault}" for fault in faults])
    click.echo(f"{path or 'built-in defaults'}: good, {counted(len(config.mirrors), 'mirror')}")
    for mirror in config.mirrors:
        click.echo(f"  {mirror.name:20} {mirror.mount}  from {', '.join(map(shown_url, mirror.origins))}")
        if limits := list(_limits(config.access, mirror)):
            click.echo(f"  {'':20} only for {', '.join(limits)}")
    for rule in config.prefetch:
        click.echo(
            f"  prefetch {rule.name:11} {rule.mirror}: {rule.selection()}, {rule.schedule or 'by sync only'}"
        )
    warnings += [*exposures(config, path), *oddities(os.environ, config.upstream.parent_proxy)]
    warnings += _contradictions(config)
    for problem in warnings:
        click.echo(f"warning: {problem}", err=True)
    if owner := meant_owner(config.data_dir):
        warn_of_strangers(config.data_dir, owner)


def _found_by_trying(config: Config) -> tuple[list[str], list[str]]:
    """Return faults and warnings that only this machine can tell of."""
    faults = [*disk_faults(config), *folder_faults(config)]
    warnings = [*hasty_clients(config), *idle_limits(config), *folder_doubts(config)]
    warnings += doubted_answers(config.mirrors)
    upstream = config.upstream
    if not upstream.resolver:
        warnings += names_led_here(config.mirrors, upstream.resolve)
    warnings += unused_pins(upstream.resolve, upstream.resolver, upstream.parent_proxy, upstream.no_proxy)
    try:
        load_lock(config, {})
    except LockUnfit as error:
        faults.append(str(error))
    try:
        tls_context(config.tls)
    except BadCertificate as error:
        faults.append(str(error))
    try:
        of_keyrings, odd = try_keyrings(config)
    except OSError as error:
        warnings.append(f"the keyrings were not tried, for want of a temporary folder: {error.strerror}")
    else:
        faults += of_keyrings
        warnings += odd
    return faults, warnings


def _contradictions(config: Config) -> Iterator[str]:
    """Yield which filters of a rule no item can pass together."""
    for rule in config.prefetch:
        for problem in contradictions(rule.selection().filters):
            yield f"[[prefetch]] {rule.name}: {problem}"


def _limits(access: AccessOptions, mirror: Mirror) -> Iterator[str]:
    """Yield what a client needs to read a mirror."""
    for networks in dict.fromkeys((access.allow, mirror.allow)):
        if set(networks) != set(EVERYBODY):
            yield f"clients in {' or '.join(networks)}"
    if users := mirror.users or access.users:
        yield f"users {' or '.join(users)}"
