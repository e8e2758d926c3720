"""`dns`: what a site's name servers are told so that clients find the proxy by origins' names."""

import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from proxy.cli.options import UsageFault, config_option, load
from proxy.config.config import Config
from proxy.readable import meant
from proxy.reporting.name_override import (
    FORMS,
    TITLES,
    answered_names,
    bind_zone,
    certificate_lines,
    dns_name,
    ports_of,
    trust_lines,
)

_BIND_ZONE = "bind-zone"
_HTTP, _HTTPS = 80, 443


class _Address(click.ParamType):  # type: ignore[type-arg]  # click 8.1's is not generic
    """An IP address."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it as it is usually written."""
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            self.fail(f"{value!r} is no address such as 192.0.2.7 or 2001:db8::7", param, ctx)


@click.command(short_help="Print what name servers are told so that clients need no setting.")
@config_option
@click.option(
    "--address",
    "addresses",
    multiple=True,
    type=_Address(),
    help="The proxy's address; may be repeated. [this machine's]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice([*FORMS, _BIND_ZONE]),
    help="Only the lines for this program; bind-zone is a zone for one name. [all, with explanations]",
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
def dns(
    config_file: Path | None, addresses: tuple[str, ...], form: str | None, names: tuple[str, ...]
) -> None:
    """Print the lines that make a site's name server give the proxy's address for its mirrors' names.

    \b
      sstream-proxy dns
      sstream-proxy dns --format dnsmasq > image-cache.conf
      sstream-proxy dns images.maas.io --address 192.0.2.7

    MAAS then needs no setting at all. For LXD and Incus, which use https, it says how
    to make the certificate that they need. NAMEs choose among the configured ones.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file)
    chosen = _chosen(config, names)
    reached = addresses or tuple(_own_addresses(config))
    if not reached:
        raise UsageFault("this machine's address is not known: name it with --address")
    if form == _BIND_ZONE:
        if len(chosen) != 1:
            raise UsageFault(f"a zone is for one name: name one of {', '.join(chosen)}")
        lines = bind_zone(chosen[0], reached)
    elif form is not None:
        lines = FORMS[form](chosen, reached)
    else:
        lines = list(_explained(config, chosen, reached))
    click.echo("\n".join(lines))


def _chosen(config: Config, names: Sequence[str]) -> list[str]:
    known = answered_names(config.mirrors)
    if not known:
        raise UsageFault(
            "no mirror answers to a name: its origins are folders or addresses, or answer_to is []"
        )
    wanted = [dns_name(name) for name in names]
    for name in wanted:
        if name not in known:
            raise UsageFault(
                f"no mirror answers to {name!r} (answer_to of a [[mirror]] adds names); "
                f"there are: {', '.join(known)}{meant(name, known)}"
            )
    return list(dict.fromkeys(wanted)) or known


def _own_addresses(config: Config) -> list[str]:
    # Late: it imports what the other commands need not.
    from proxy.processes.own_addresses import reached_at  # noqa: PLC0415

    return reached_at(config.addresses)


def _explained(config: Config, names: Sequence[str], addresses: Sequence[str]) -> Iterator[str]:
    yield f"# Names that lead to this proxy, {' and '.join(addresses)}: {', '.join(names)}"
    yield from _port_notes(config, names, addresses)
    for form, lines in FORMS.items():
        yield from ("", f"# {TITLES[form]}", *lines(names, addresses))
    yield from _certificate_notes(config, names, addresses)
    yield ""
    if config.upstream.resolver:
        asked = ", ".join(config.upstream.resolver)
        yield f"# The proxy itself asks {asked} ([upstream] resolver), which must not give these lines."
        return
    yield "# This machine must not be led here itself: unless it asks another name server, name one that does"
    yield "# not give these lines in its configuration, or the addresses that the names really have, such as"
    pins = ", ".join(f'"{name}" = ["ADDRESS"]' for name in names)
    yield '#   [upstream]\n#   resolver = ["ADDRESS-OF-A-NAME-SERVER"]'
    yield f"#   resolve = {{ {pins} }}"


def _port_notes(config: Config, names: Sequence[str], addresses: Sequence[str]) -> Iterator[str]:
    """Yield what is missing for clients that come by name."""
    wanted = {port for name in names for port in ports_of(config.mirrors, name)}
    has_tls = config.tls.certificate is not None
    plain = {port for host, port in config.addresses if not has_tls or (host, port) in config.plain_addresses}
    secure = {port for _, port in config.addresses} - plain
    if _HTTP in wanted and _HTTP not in plain:
        yield "# Clients that use http ask at port 80, where this proxy does not listen:"
        yield f"#   listen = [{', '.join(_with_port_80(config, addresses))}]"
        yield "# A service needs a socket unit or low-ports.conf for that, never root: packaging/README.md"
    if _HTTPS in wanted and _HTTPS not in secure:
        yield "# Clients that use https, such as LXD and Incus, ask at port 443, where it speaks no TLS yet."
    for port in sorted(wanted - {_HTTP, _HTTPS} - plain - secure):
        yield f"# Clients of an origin's URL with port {port} ask at it, where this proxy does not listen."


def _with_port_80(config: Config, addresses: Sequence[str]) -> Iterator[str]:
    before = "http://" if config.tls.certificate is not None else ""
    yield from (f'"{before}{host}:80"' for host in _everywhere(addresses))
    yield from (f'"{entry}"' for entry in config.listen)


def _certificate_notes(config: Config, names: Sequence[str], addresses: Sequence[str]) -> Iterator[str]:
    yield ""
    yield "# LXD, Incus, Multipass and all that use https need a certificate for these names, by an authority"
    yield "# that they trust. If the site has none, this makes one (keep ca.key safe, and away from here):"
    yield from certificate_lines(names, addresses)
    yield "# then on each client, as root:"
    yield from trust_lines()
    if config.tls.certificate is None:
        yield "# and here, in the configuration:"
        hosts = _everywhere(addresses)
        listen = [*(f'"http://{host}:80"' for host in hosts), *(f'"{host}:443"' for host in hosts)]
        yield f"#   listen = [{', '.join(listen)}]"
        yield "#   [tls]"
        yield '#   certificate = "/etc/sstream-proxy/server.crt"'
        yield '#   key = "/etc/sstream-proxy/server.key"'


def _everywhere(addresses: Sequence[str]) -> list[str]:
    """Return what listens at all addresses of the kinds that clients are given."""
    is_old, is_new = (any((":" in one) == is_six for one in addresses) for is_six in (False, True))
    return ["0.0.0.0"] * is_old + ["[::]"] * is_new  # noqa: S104 - told, not bound
