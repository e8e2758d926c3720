"""What only someone who knows the options' meaning can find wrong; puts paths and slashes right."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.config.addresses import (
    answered_problem,
    base_url_problem,
    bypass_problem,
    host_problem,
    mount_problem,
    overlap_problem,
    unproved_problem,
    url_problem,
)
from proxy.config.checks.access import access_faults, admin_faults, listen_faults
from proxy.config.checks.from_maas import MAAS_FILES, maas_faults
from proxy.config.checks.names import answer_faults, pin_faults, resolver_faults
from proxy.config.config import Config
from proxy.config.errors import COMMAND_LINE, ConfigError
from proxy.config.keyrings import bundled_keyrings
from proxy.config.tls import Tls
from proxy.config.toml_reader import Fault, Faults, values
from proxy.config.wording import quoted
from proxy.jobs.importing.options import BundleOptions
from proxy.jobs.rules import Rule
from proxy.jobs.schedule import Window, parse_schedule
from proxy.mirror import ORIGINS, Mirror, Trust
from proxy.simplestreams.filters import Filter, FilterError
from proxy.sources.addresses import is_folder

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
_LEAST |= dict.fromkeys(("workers", "prefetch.max", "upstream.background_transfers"), (1, "1"))
_LEAST |= dict.fromkeys(("upstream.connections", "upstream.connections_per_item"), (1, "1"))
_LEAST |= dict.fromkeys(("clients.connections", "clients.connections_per_client"), (16, "16"))
_LEAST |= dict.fromkeys(("upstream.limit", "mirror.limit"), (16 * 1024, '"16 KiB"'))
_LEAST |= dict.fromkeys(("cache.limit", "upstream.document_limit"), (_MIB, '"1 MiB"'))
_MOST = {
    "workers": 256,
    "upstream.connections": 1024,
    "upstream.connections_per_item": 16,
    "upstream.transfers": 4096,
    "clients.stall_timeout": 86400,
}

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_NAME_SHAPE = 'small letters, digits, ".", "_" and "-", a letter or digit first'


class OptionChecks:
    """Goes through a configuration; every fault is added to the others."""

    def __init__(self, faults: Faults, folder: Path, home: str) -> None:
        self._add = faults.add
        self._folder = folder
        self._home = home

    def config(self, config: Config) -> Config:
        """Return the configuration with whole paths, and slashes where they belong."""
        self._check_numbers(config)
        if not config.listen:
            self._add("listen", 'is empty: name at least one address, such as ["0.0.0.0:8080"]')
        self._add_all(listen_faults({"listen": config.listen, "admin.listen": config.admin.listen}))
        self._add_all(admin_faults(config.admin))
        self._add_all(answer_faults(config.mirrors))
        self._add_all(access_faults(config.access, config.users, config.mirrors))
        if problem := config.upstream.parent_proxy and url_problem(config.upstream.parent_proxy):
            self._add("upstream.parent_proxy", problem)
        self._add_all(pin_faults(config.upstream.resolve))
        self._add_all(resolver_faults(config.upstream.resolver))
        for index, entry in enumerate(config.upstream.no_proxy):
            if problem := bypass_problem(entry):
                self._add(f"upstream.no_proxy[{index}]", problem)
        data_dir = self._absolute(config.data_dir)
        there = next((one for one in (data_dir, *data_dir.parents) if _is(one, Path.exists)), None)
        if there is not None and not _is(there, Path.is_dir):
            self._add(
                "data_dir", f"{quoted(str(there))} is no folder: name one, or a path that is still free"
            )
        mirrors = tuple(self._mirror(mirror, f"mirror[{i}]") for i, mirror in enumerate(config.mirrors))
        self._check_together(mirrors)
        for place, mirror in enumerate(mirrors):
            for index, origin in enumerate(mirror.origins):
                if is_folder(origin) and (problem := overlap_problem(origin, data_dir)):
                    self._add(f"mirror[{place}].origins[{index}]", problem)
        self._check_rules(config.prefetch, {mirror.name for mirror in mirrors})
        rules = tuple(self._rule(rule, f"prefetch[{i}]") for i, rule in enumerate(config.prefetch))
        tls = self._tls(config.tls)
        bundles = self._bundles(config.bundles)
        lock = config.lock and self._readable(config.lock, "lock")
        return replace(
            config, data_dir=data_dir, lock=lock, tls=tls, bundles=bundles, mirrors=mirrors, prefetch=rules
        )

    def _add_all(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self._add(fault.key, fault.problem)

    def _absolute(self, path: Path) -> Path:
        if path.parts[:1] == ("~",) and self._home:
            return Path(self._home, *path.parts[1:])
        return absolute(self._folder / path)

    def _check_numbers(self, config: Config) -> None:
        for key, value in values(config):
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            option = _INDEX.sub("", key)
            least, text = _LEAST.get(option, (0, "0"))
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

    def _bundles(self, bundles: BundleOptions) -> BundleOptions:
        if bundles.keyring is None:
            return bundles
        return replace(bundles, keyring=self._readable(bundles.keyring, "bundles.keyring"))

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
        for index, url in enumerate(mirror.answer_to):
            if url != ORIGINS and (problem := answered_problem(url)):
                self._add(f"{at}.answer_to[{index}]", problem)
        return replace(
            mirror,
            mount=mount,
            origins=tuple(map(_with_slash, mirror.origins)),
            answer_to=tuple(url if url == ORIGINS else _with_slash(url) for url in mirror.answer_to),
            keyring=self._keyring(mirror, f"{at}.keyring"),
        )

    def _keyring(self, mirror: Mirror, at: str) -> str:
        keyring = mirror.keyring
        if mirror.trust is not Trust.GPG or keyring in bundled_keyrings():
            return keyring
        if "/" not in keyring and not keyring.endswith((".gpg", ".asc", ".kbx", ".pgp")):
            names = ", ".join(f'"{name}"' for name in bundled_keyrings())
            self._add(
                at,
                f"is no bundled keyring: write one of {names}, "
                'or the path of a keyring file, such as "./mine"',
            )
            return keyring
        return str(self._readable(Path(keyring), at))

    def _readable(self, file: Path, at: str) -> Path:
        path = self._absolute(file)
        if not (_is(path, Path.is_file) and os.access(path, os.R_OK, effective_ids=True)):
            self._add(
                at, f"there is no readable file {quoted(str(path))}: correct the path or its permissions"
            )
        return path

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

    def _rule(self, rule: Rule, at: str) -> Rule:
        """Check what a rule says of a MAAS; return it with whole paths."""
        paths: dict[str, Any] = {
            name: self._absolute(path) for name in MAAS_FILES if (path := getattr(rule, name)) is not None
        }
        for fault in maas_faults(rule, at):
            self._add(fault.key, fault.problem)
        for name, path in paths.items():
            if not _is(path, Path.is_file):
                self._add(f"{at}.{name}", f"there is no file {quoted(str(path))}: correct the path")
        return replace(rule, **paths)

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


def _with_slash(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"


def _origin_problem(origin: str, trust: Trust) -> str | None:
    return base_url_problem(origin) or (unproved_problem(origin) if trust is Trust.TLS else None)


def _is(path: Path, test: Callable[[Path], bool]) -> bool:
    """Return what `test` says of a path; False where nobody may look."""
    try:
        return test(path)
    except OSError:
        return False


def absolute(path: Path) -> Path:
    """Return a whole path. Raises ConfigError where the current folder is no more."""
    try:
        return path.absolute()
    except FileNotFoundError:
        problem = f"{quoted(str(path))} is below the current folder, which was removed: write its whole path"
        raise ConfigError(COMMAND_LINE, [Fault("", problem)]) from None
