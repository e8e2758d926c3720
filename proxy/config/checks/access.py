"""Finding fault with who may connect where: addresses, networks, users and tokens.

Knows what these options mean together. Each function yields faults, whose texts
never hold a secret.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from proxy.config.addresses import covers, join_address, network_problem, split_address
from proxy.config.toml_reader import Fault
from proxy.config.wording import quoted
from proxy.mirror import Mirror
from proxy.web.access.gate import AccessOptions, User
from proxy.web.access.passwords import PasswordHash
from proxy.web.admin.permission import AdminOptions

_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
_USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def listen_faults(listen: Mapping[str, Sequence[str]]) -> Iterator[Fault]:
    """Judge the addresses to listen at, by the key that they stand at."""
    seen: set[tuple[str, int]] = set()
    for key, entries in listen.items():
        for index, entry in enumerate(entries):
            try:
                address = split_address(entry)
            except ValueError as error:
                yield Fault(f"{key}[{index}]", str(error))
                continue
            if address in seen:
                yield Fault(f"{key}[{index}]", f"repeats {quoted(entry)}: remove one of them")
            elif cover := next((one for one in seen if covers(one, address) or covers(address, one)), None):
                problem = (
                    f"overlaps with {quoted(join_address(cover))}: remove one of them, or take another port"
                )
                yield Fault(f"{key}[{index}]", problem)
            seen.add(address)


def admin_faults(admin: AdminOptions) -> Iterator[Fault]:
    """Judge the operator's token, and the names of the operator's pages."""
    if admin.token_sha256 and not re.fullmatch("[0-9a-fA-F]{64}", admin.token_sha256):
        problem = "is no SHA-256 in hexadecimal: write what `sstream-proxy new-token` prints"
        yield Fault("admin.token_sha256", problem)
    for index, name in enumerate(admin.names):
        if not _HOST_NAME.fullmatch(name):
            problem = f'is {quoted(name)}: write a name without a port, such as "cache.example.org"'
            yield Fault(f"admin.names[{index}]", problem)


def access_faults(access: AccessOptions, users: Sequence[User], mirrors: Sequence[Mirror]) -> Iterator[Fault]:
    """Judge who may read which mirror."""
    yield from _user_faults(users)
    known = {user.name for user in users}
    lists = {"access": (access.allow, access.users)}
    lists |= {f"mirror[{index}]": (mirror.allow, mirror.users) for index, mirror in enumerate(mirrors)}
    for at, (allow, named) in lists.items():
        if not allow:
            yield Fault(
                f"{at}.allow", 'is empty, so that nobody could read: write networks, or "0.0.0.0/0", "::/0"'
            )
        for index, network in enumerate(allow):
            if problem := network_problem(network):
                yield Fault(f"{at}.allow[{index}]", problem)
        for index, name in enumerate(named):
            if name not in known:
                there = f"write one of {', '.join(sorted(known))}" if known else "add it as [[user]]"
                yield Fault(f"{at}.users[{index}]", f"is {quoted(name)}, which is no [[user]]: {there}")
    named_somewhere = {name for _, named in lists.values() for name in named}
    for index, user in enumerate(users):
        if user.name not in named_somewhere:
            problem = "is named by no users = [...], so that nobody would be asked for the password: "
            yield Fault(f"user[{index}].name", f"{problem}write it there, of [access] or a [[mirror]]")


def _user_faults(users: Sequence[User]) -> Iterator[Fault]:
    names: set[str] = set()
    for index, user in enumerate(users):
        at = f"user[{index}]"
        if not _USER_NAME.fullmatch(user.name):
            shape = 'letters, digits, ".", "_" and "-", a letter or digit first'
            yield Fault(f"{at}.name", f"is {quoted(user.name)}: write a name of {shape}")
        if user.name in names:
            yield Fault(f"{at}.name", f"{quoted(user.name)} is taken: give each user their own name")
        names.add(user.name)
        try:
            PasswordHash.parse(user.password_hash)
        except ValueError as error:
            yield Fault(f"{at}.password_hash", str(error))
