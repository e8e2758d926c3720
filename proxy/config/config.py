"""What can be configured: every option, its default, and which combinations make sense.

Owns `Config`, which only nests the options of the parts, where the file is
looked for, and the checks that need to know what an option means. How TOML
becomes dataclasses is `toml_reader`'s business. Knows of no running part, and
tells of all faults at once.
"""

import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from proxy.config.addresses import (
    base_url_problem,
    bypass_problem,
    host_problem,
    mount_problem,
    overlap_problem,
    split_address,
    unproved_problem,
    url_problem,
)
from proxy.config.credential_checks import access_faults, admin_faults, listen_faults
from proxy.config.tls import Tls
from proxy.config.toml_reader import Fault, Faults, masked, quoted, read, spoken_key, values
from proxy.documents.freshness import FreshnessPolicy
from proxy.errors import ProxyError
from proxy.fills.feed import FeedOptions
from proxy.jobs.rules import Rule
from proxy.jobs.schedule import Window, parse_schedule
from proxy.jobs.scrub import ScrubPolicy
from proxy.mirror import Mirror, Trust
from proxy.simplestreams.filters import Filter, FilterError
from proxy.sources.addresses import is_folder
from proxy.sources.options import UpstreamOptions
from proxy.store.limits import StoreLimits
from proxy.web.access.gate import AccessOptions, User
from proxy.web.admin.permission import AdminOptions
from proxy.web.client_options import ClientOptions

__all__ = [
    "MAAS_MIRRORS",
    "SYSTEM_CONFIG",
    "ClientOptions",
    "Config",
    "ConfigError",
    "Fault",
    "LogOptions",
    "Tls",
    "bundled_keyrings",
    "default_data_dir",
    "find_config_file",
    "load_config",
]

SYSTEM_CONFIG = Path("/etc/sstream-proxy/config.toml")
_SYSTEM_DATA = Path("/var/lib/sstream-proxy")
_COMMAND_LINE = "command line"
_MOST_AUTO_WORKERS = 4


class ConfigError(ProxyError):
    """The configuration cannot be used; str() has one line for each fault."""

    def __init__(
        self, source: str, faults: Iterable[Fault], table: Mapping[str, object] = MappingProxyType({})
    ) -> None:
        self.source = source
        self.faults = tuple(faults)
        self._places = [spoken_key(fault.key, table) for fault in self.faults]
        super().__init__(source, self.faults)

    def __str__(self) -> str:
        lines = zip(self._places, self.faults, strict=True)
        return "\n".join(": ".join(filter(None, (self.source, at, f.problem))) for at, f in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["human", "json"] = "human"


def _maas_mirror(name: str, path: str) -> Mirror:
    return Mirror(name=name, mount=f"/images/{path}", origins=(f"https://images.maas.io/{path}",))


MAAS_MIRRORS: tuple[Mirror, ...] = (
    _maas_mirror("maas-stable", "ephemeral-v3/stable/"),
    _maas_mirror("maas-candidate", "ephemeral-v3/candidate/"),
    _maas_mirror("maas-v2-daily", "ephemeral-v2/daily/"),
    _maas_mirror("maas-v2-releases", "ephemeral-v2/releases/"),
)
"""All trees of images.maas.io, mounted so that only the host of a MAAS image source changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured."""

    listen: tuple[str, ...] = ("0.0.0.0:8080",)
    """HOST:PORT or [IPV6]:PORT each; port 0 is any free port."""
    data_dir: Path
    """Holds blobs and ledger; absolute. See `default_data_dir`."""
    workers: int | Literal["auto"] = "auto"
    """Processes that serve; see `worker_count`."""
    offline: bool = False
    """Serve what is held and never ask an origin."""
    tls: Tls = field(default_factory=Tls)
    cache: StoreLimits = field(default_factory=StoreLimits)
    scrub: ScrubPolicy = field(default_factory=ScrubPolicy)
    freshness: FreshnessPolicy = field(default_factory=FreshnessPolicy)
    upstream: UpstreamOptions = field(default_factory=UpstreamOptions)
    feed: FeedOptions = field(default_factory=FeedOptions)
    clients: ClientOptions = field(default_factory=ClientOptions)
    access: AccessOptions = field(default_factory=AccessOptions)
    users: tuple[User, ...] = ()
    """Who has a password for mirrors."""
    admin: AdminOptions = field(default_factory=AdminOptions)
    log: LogOptions = field(default_factory=LogOptions)
    mirrors: tuple[Mirror, ...] = MAAS_MIRRORS
    prefetch: tuple[Rule, ...] = ()
    """What the server fetches by itself."""

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """`listen` as (host, port), IPv6 without its brackets."""
        return tuple(split_address(entry) for entry in self.listen)

    @property
    def admin_addresses(self) -> tuple[tuple[str, int], ...]:
        """`admin.listen` in the same way."""
        return tuple(split_address(entry) for entry in self.admin.listen)

    def worker_count(self, cpus: int | None = None) -> int:
        """Return how many workers to run; "auto" is one for each usable CPU, at most four."""
        if self.workers != "auto":
            return self.workers
        return min(cpus or len(os.sched_getaffinity(0)), _MOST_AUTO_WORKERS)


def find_config_file(
    option: Path | None, environ: Mapping[str, str], *, system: Path = SYSTEM_CONFIG
) -> Path | None:
    """Return the file to read: `option`, else $SSTREAM_PROXY_CONFIG, else `system` if there.

    Raises ConfigError if a file that was named does not exist.
    """
    variable = environ.get("SSTREAM_PROXY_CONFIG", "")
    named = option or (Path(variable) if variable else None)
    if named is None:
        return system if os.path.exists(system) else None  # noqa: PTH110 - never raises
    if not os.path.exists(named):  # noqa: PTH110
        source = _COMMAND_LINE if option else "$SSTREAM_PROXY_CONFIG"
        problem = f"there is no configuration file '{named}': correct the path or create the file"
        raise ConfigError(source, [Fault("", problem)])
    return named


def default_data_dir(environ: Mapping[str, str], uid: int) -> Path:
    """Return systemd's state folder, else the system's for root, else the user's own."""
    if state := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(state)
    home = environ.get("HOME", "")
    if uid == 0 or not home:
        return _SYSTEM_DATA
    shared = Path(environ.get("XDG_DATA_HOME", ""))
    return (shared if shared.is_absolute() else Path(home, ".local/share")) / "sstream-proxy"


def bundled_keyrings() -> tuple[str, ...]:
    """Return the names that `Mirror.keyring` may have besides paths."""
    suffix = "-keyring.gpg"
    names = (entry.name for entry in files("proxy").joinpath("data").iterdir())
    return tuple(sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix)))


def load_config(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    overrides: Mapping[str, object] = MappingProxyType({}),
    uid: int | None = None,
) -> Config:
    """Return the defaults, changed by the file at `path`, changed by `overrides`.

    `overrides` come from the command line, by top-level key; None and () mean
    not given. Relative paths in the file are taken from its folder. `uid` is
    the user whose default data folder is meant; None is the one that runs.

    Raises ConfigError with every fault of file and command line.
    """
    given = {key: _as_toml(key, value) for key, value in overrides.items() if value not in (None, ())}
    table = {**(_parse(path) if path else {}), **given}
    table.setdefault("data_dir", str(default_data_dir(environ, os.geteuid() if uid is None else uid)))
    faults = Faults()
    folder = path.parent if path else Path()
    config = _Checks(faults, folder, environ.get("HOME", "")).config(read(Config, table, faults))
    if found := faults.found():
        raise ConfigError(_source(path, given, found), found, table)
    return config


def _parse(path: Path) -> dict[str, object]:
    try:
        # Windows editors put a byte order mark in front, which TOML has no place for.
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        problem = f"the file cannot be read ({error.strerror}): check its path and permissions"
    except UnicodeDecodeError as error:
        problem = f"the file is no UTF-8 text (byte {error.start}): save it as UTF-8"
    except RecursionError:
        problem = "the file is no configuration: its lists or tables are nested too deeply"
    except ValueError as error:
        problem = (
            f"the file is no valid TOML: {masked(str(error))}; look there for a missing quote, bracket or ="
        )
    raise ConfigError(str(path), [Fault("", problem)])


def _as_toml(key: str, value: object) -> object:
    """Return a value of the command line as TOML would have had it."""
    match value:
        case Path():
            return str(_absolute(value))
        case tuple():
            return list(value)
        case str() if key == "workers" and re.fullmatch("[0-9]{1,9}", value):
            return int(value)
        case _:
            return value


def _absolute(path: Path) -> Path:
    """Return a whole path. Raises ConfigError where the current folder is no more."""
    try:
        return path.absolute()
    except FileNotFoundError:
        problem = f"{quoted(str(path))} is below the current folder, which was removed: write its whole path"
        raise ConfigError(_COMMAND_LINE, [Fault("", problem)]) from None


def _source(path: Path | None, given: Mapping[str, object], faults: Iterable[Fault]) -> str:
    """Say which of file and command line the faults are in."""
    if path is None:
        return _COMMAND_LINE
    roots = {re.split(r"[.\[]", fault.key)[0] for fault in faults}
    if roots <= given.keys():
        return _COMMAND_LINE
    return f"{path} and {_COMMAND_LINE}" if roots & given.keys() else str(path)


_MIB = 1024**2
_MAY_BE_ZERO = {
    "cache.keep_unlisted",
    "cache.min_free",
    "clients.drain_timeout",
    "feed.reserve",
    "freshness.hold_back",
    "freshness.retain",
    "prefetch.jitter",
    "tls.check_every",
}
_INDEX = re.compile(r"\[\d+\]")
_LEAST = {"upstream.transfers": (4, "4")}
_LEAST |= dict.fromkeys(("workers", "upstream.connections", "prefetch.max"), (1, "1"))
_LEAST |= dict.fromkeys(("clients.connections", "clients.connections_per_client"), (16, "16"))
_LEAST |= dict.fromkeys(("cache.limit", "upstream.document_limit"), (_MIB, '"1 MiB"'))
_MOST = {
    "workers": 256,
    "upstream.connections": 1024,
    "upstream.transfers": 4096,
    "clients.stall_timeout": 86400,
}

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_NAME_SHAPE = 'small letters, digits, ".", "_" and "-", a letter or digit first'


class _Checks:
    """What only someone who knows the options' meaning can find wrong; puts paths and slashes right."""

    def __init__(self, faults: Faults, folder: Path, home: str) -> None:
        self._add = faults.add
        self._folder = folder
        self._home = home

    def config(self, config: Config) -> Config:
        self._check_numbers(config)
        if not config.listen:
            self._add("listen", 'is empty: name at least one address, such as ["0.0.0.0:8080"]')
        self._add_all(listen_faults({"listen": config.listen, "admin.listen": config.admin.listen}))
        self._add_all(admin_faults(config.admin))
        self._add_all(access_faults(config.access, config.users, config.mirrors))
        if problem := config.upstream.parent_proxy and url_problem(config.upstream.parent_proxy):
            self._add("upstream.parent_proxy", problem)
        for index, entry in enumerate(config.upstream.no_proxy):
            if problem := bypass_problem(entry):
                self._add(f"upstream.no_proxy[{index}]", problem)
        data_dir = self._absolute(config.data_dir)
        if _is(data_dir, Path.exists) and not _is(data_dir, Path.is_dir):
            self._add(
                "data_dir", f"{quoted(str(data_dir))} is no folder: name one, or a path that is still free"
            )
        mirrors = tuple(self._mirror(mirror, f"mirror[{i}]") for i, mirror in enumerate(config.mirrors))
        self._check_together(mirrors)
        for place, mirror in enumerate(mirrors):
            for index, origin in enumerate(mirror.origins):
                if is_folder(origin) and (problem := overlap_problem(origin, data_dir)):
                    self._add(f"mirror[{place}].origins[{index}]", problem)
        self._check_rules(config.prefetch, {mirror.name for mirror in mirrors})
        return replace(config, data_dir=data_dir, tls=self._tls(config.tls), mirrors=mirrors)

    def _add_all(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self._add(fault.key, fault.problem)

    def _absolute(self, path: Path) -> Path:
        if path.parts[:1] == ("~",) and self._home:
            return Path(self._home, *path.parts[1:])
        return _absolute(self._folder / path)

    def _check_numbers(self, config: Config) -> None:
        for key, value in values(config):
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            option = _INDEX.sub("", key)
            least, text = _LEAST.get(option, (0, ""))
            if value < least:
                self._add(key, f"is too small: write at least {text}")
            elif value > _MOST.get(option, value):
                self._add(key, f"is too large: write at most {_MOST[option]}")
            elif value == 0 and option not in _MAY_BE_ZERO:
                self._add(key, "is 0, which cannot work: write more, or remove the line for the default")
        if config.freshness.retry_limit_s < config.freshness.retry_after_s:
            self._add("freshness.retry_limit", "is less than freshness.retry_after: write at least as much")

    def _tls(self, tls: Tls) -> Tls:
        if (tls.certificate is None) != (tls.key is None):
            missing, given = ("key", "certificate") if tls.certificate else ("certificate", "key")
            self._add(
                f"tls.{missing}", f"is missing: name its file too, or remove tls.{given} for plain HTTP"
            )
        if tls.client_ca and not tls.certificate:
            self._add("tls.client_ca", "needs tls.certificate and tls.key: plain HTTP shows no certificates")
        certificate, key, client_ca = (
            path and self._absolute(path) for path in (tls.certificate, tls.key, tls.client_ca)
        )
        for name, path in (("certificate", certificate), ("key", key), ("client_ca", client_ca)):
            if path and not _is(path, Path.is_file):
                self._add(f"tls.{name}", f"there is no file {quoted(str(path))}: correct the path")
        return replace(tls, certificate=certificate, key=key, client_ca=client_ca)

    def _mirror(self, mirror: Mirror, at: str) -> Mirror:
        if not _NAME.fullmatch(mirror.name):
            self._add(f"{at}.name", f"is {quoted(mirror.name)}: write a name of {_NAME_SHAPE}")
        mount = mirror.mount if mirror.mount.endswith("/") or not mirror.mount else f"{mirror.mount}/"
        if problem := mount_problem(mount):
            self._add(f"{at}.mount", problem)
        if not mirror.origins:
            self._add(
                f"{at}.origins", 'is empty: name at least one base URL, such as ["https://images.maas.io/"]'
            )
        for index, origin in enumerate(mirror.origins):
            if problem := _origin_problem(origin, mirror.trust):
                self._add(f"{at}.origins[{index}]", problem)
        for index, host in enumerate(mirror.redirect_hosts):
            if problem := host_problem(host):
                self._add(f"{at}.redirect_hosts[{index}]", problem)
        origins = tuple(origin if origin.endswith("/") else f"{origin}/" for origin in mirror.origins)
        return replace(mirror, mount=mount, origins=origins, keyring=self._keyring(mirror, f"{at}.keyring"))

    def _keyring(self, mirror: Mirror, at: str) -> str:
        keyring = mirror.keyring
        if mirror.trust is not Trust.GPG or keyring in bundled_keyrings():
            return keyring
        if "/" not in keyring and not keyring.endswith((".gpg", ".asc", ".kbx", ".pgp")):
            names = ", ".join(f'"{name}"' for name in bundled_keyrings())
            self._add(at, f"is no bundled keyring: write one of {names}, or the path of a keyring file")
            return keyring
        path = self._absolute(Path(keyring))
        if not (_is(path, Path.is_file) and os.access(path, os.R_OK, effective_ids=True)):
            self._add(
                at, f"there is no readable file {quoted(str(path))}: correct the path or its permissions"
            )
        return str(path)

    def _check_together(self, mirrors: tuple[Mirror, ...]) -> None:
        if not mirrors:
            self._add(
                "mirror", "is empty: write at least one [[mirror]], or remove the line for the MAAS mirrors"
            )
        names: Counter[str] = Counter()
        mounts: Counter[str] = Counter()
        for index, mirror in enumerate(mirrors):
            names[mirror.name] += 1
            mounts[mirror.mount] += 1
            if names[mirror.name] > 1:
                self._add(
                    f"mirror[{index}].name", f"{quoted(mirror.name)} is taken: give each mirror its own name"
                )
            if mounts[mirror.mount] > 1:
                self._add(
                    f"mirror[{index}].mount", f"{quoted(mirror.mount)} is taken: give each mirror its own"
                )
            if mirror.mount == "/" and len(mirrors) > 1:
                self._add(f"mirror[{index}].mount", 'is "/", which fits a single mirror only: write "/NAME/"')

    def _check_rules(self, rules: tuple[Rule, ...], mirrors: set[str]) -> None:
        names: Counter[str] = Counter()
        for index, rule in enumerate(rules):
            at = f"prefetch[{index}]"
            names[rule.name] += 1
            if not _NAME.fullmatch(rule.name):
                self._add(f"{at}.name", f"is {quoted(rule.name)}: write a name of {_NAME_SHAPE}")
            if names[rule.name] > 1:
                self._add(f"{at}.name", f"{quoted(rule.name)} is taken: give each rule its own name")
            if rule.mirror not in mirrors:
                there = ", ".join(sorted(mirrors))
                self._add(
                    f"{at}.mirror", f"is {quoted(rule.mirror)}, which is no mirror: write one of {there}"
                )
            if rule.arch and not rule.maas:
                self._add(f"{at}.arch", "goes with maas: name releases there, or write a filter 'arch=amd64'")
            self._check_texts(at, rule)

    def _check_texts(self, at: str, rule: Rule) -> None:
        for key in ("maas", "arch"):
            if not all(name.strip() for name in getattr(rule, key)):
                self._add(f"{at}.{key}", "has an empty name: write names as MAAS shows them")
        for key, parse in (("schedule", parse_schedule), ("window", Window.parse)):
            try:
                parse(getattr(rule, key))
            except ValueError as error:
                self._add(f"{at}.{key}", str(error))
        for number, expression in enumerate(rule.filters):
            try:
                Filter.parse(expression)
            except FilterError as error:
                self._add(f"{at}.filters[{number}]", str(error))


def _origin_problem(origin: str, trust: Trust) -> str | None:
    return base_url_problem(origin) or (unproved_problem(origin) if trust is Trust.TLS else None)


def _is(path: Path, test: Callable[[Path], bool]) -> bool:
    """Return what `test` says of a path; False where nobody may look."""
    try:
        return test(path)
    except OSError:
        return False
