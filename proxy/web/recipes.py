"""What somebody does so that a client uses a mirror here: texts with lines to copy. Pure."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from proxy.mirror import Mirror, Trust
from proxy.reporting.name_override import answered_names, dnsmasq

_CLOUD_KEYRING = "/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg"
_CONNECT_MAAS = "sstream-proxy connect maas http://MAAS:5240/MAAS --key-file KEY-FILE"
_BUNDLED = "ubuntu-cloudimage"
_ADDRESS = "ADDRESS-OF-THIS-PROXY"
_NEEDS_TLS = (
    "LXD and Incus use https only: give the proxy a certificate that their machines trust, "
    "[tls] certificate and key in the configuration"
)


class Step(NamedTuple):
    """A sentence, and the lines to copy for it."""

    text: str
    lines: str = ""


class Recipe(NamedTuple):
    """How one kind of client is connected."""

    client: str
    steps: list[Step]


def recipes(mirrors: Sequence[Mirror], base: str, address: str = "") -> list[Recipe]:
    """Return how each client is connected to those mirrors that are for it, clients without one left out.

    `address` is the proxy's own, if that is known.
    """
    for_maas = [mirror for mirror in mirrors if is_for_maas(mirror)]
    for_others = [mirror for mirror in mirrors if not is_for_maas(mirror)]
    found = [
        _maas(for_maas, base),
        _remote("LXD", "lxc", for_others, base),
        _remote("Incus", "incus", for_others, base),
        _juju(for_others, base),
        _multipass(for_others),
        _sstream_mirror(mirrors, base),
        _by_name(mirrors, address),
    ]
    return [recipe for recipe in found if recipe.steps]


def is_for_maas(mirror: Mirror) -> bool:
    """Whether a mirror is of images for MAAS, by what it and its origins are called."""
    names = [mirror.name, mirror.mount, *(shown.hostname or "" for shown in map(urlsplit, mirror.origins))]
    return any("maas" in name or "ephemeral" in name for name in names)


def _maas(mirrors: Sequence[Mirror], base: str) -> Recipe:
    steps = []
    for mirror in mirrors[:1]:
        url, keyring = f"{base}{mirror.mount}", _keyring_file(mirror)
        steps = [
            Step(
                "On this machine, one command shows what it will change in MAAS, makes the image source, "
                "starts the import and watches it. KEY-FILE holds an admin's API key (sudo maas apikey):",
                f"{_CONNECT_MAAS} --mirror {mirror.name}",
            ),
            Step("Or give MAAS this address as its image source (Images, Change source, Custom):", url),
            Step("with this keyring, of which every region controller needs a copy:", keyring or "none"),
            Step(
                "A site proxy in MAAS's settings must not come in between:",
                "maas admin maas set-config name=boot_images_no_proxy value=true",
            ),
        ]
    return Recipe("MAAS", steps)


def _remote(client: str, command: str, mirrors: Sequence[Mirror], base: str) -> Recipe:
    lines = [
        f"{command} remote add {_remote_name(mirror)} {_secure(base)}{mirror.mount} "
        "--protocol simplestreams --public"
        for mirror in mirrors
    ]
    steps = [Step("Add a remote:", "\n".join(lines))] if lines else []
    if lines and not base.startswith("https:"):
        steps.insert(0, Step(f"{_NEEDS_TLS}."))
    return Recipe(client, steps)


def _juju(mirrors: Sequence[Mirror], base: str) -> Recipe:
    lines = [f"juju model-config image-metadata-url={base}{mirror.mount}" for mirror in mirrors]
    return Recipe(
        "Juju", [Step("Name one as the model's image metadata:", "\n".join(lines))] if lines else []
    )


def _multipass(mirrors: Sequence[Mirror]) -> Recipe:
    hosts = answered_names(mirrors)
    if not hosts:
        return Recipe("Multipass", [])
    text = (
        f"Multipass asks {', '.join(hosts)} by https for its lists, also where `local.image.mirror` names "
        "another address for images: answer by that name, as below, with a certificate that its machine "
        "trusts."
    )
    return Recipe("Multipass", [Step(text)])


def _sstream_mirror(mirrors: Sequence[Mirror], base: str) -> Recipe:
    lines = []
    for mirror in mirrors:
        keyring = _keyring_file(mirror)
        proved = f"--keyring={keyring}" if keyring else "--no-verify"
        lines.append(f"sstream-mirror {proved} --max=1 {base}{mirror.mount} /srv/images/{mirror.name}")
    return Recipe("sstream-mirror", [Step("Mirror the newest version of everything:", "\n".join(lines))])


def _by_name(mirrors: Sequence[Mirror], address: str) -> Recipe:
    names = answered_names(mirrors)
    if not names:
        return Recipe("Without touching clients", [])
    steps = [
        Step(
            f"Have the site's name server give the proxy's address for {', '.join(names)}; clients that "
            "ask by plain http then need nothing else, if the proxy listens on port 80. For dnsmasq:",
            "\n".join(dnsmasq(names, [address or _ADDRESS])),
        ),
        Step("The same for unbound, BIND and MAAS's own DNS, with what https needs:", "sstream-proxy dns"),
    ]
    return Recipe("Without touching clients", steps)


def _keyring_file(mirror: Mirror) -> str:
    if mirror.trust is Trust.TLS:
        return ""
    return _CLOUD_KEYRING if mirror.keyring == _BUNDLED else mirror.keyring


def _secure(base: str) -> str:
    return f"https://{base.partition('://')[2]}"


def _remote_name(mirror: Mirror) -> str:
    return f"local-{mirror.name}"
