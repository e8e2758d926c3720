"""Names that no list has: a typing error is no success, at the command line, in rules and in pins."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.commands import Commands
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.tree import SignedTree

from proxy.store.pins import Pins

MISSPELT = [
    (("--maas", "nobel"), "no release 'nobel', 'noble' was probably meant"),
    (("--maas", "noble,nobel"), "no release 'nobel'"),
    (("--maas", "noble,24.40"), "no release '24.40', '24.04' was probably meant"),
    (("--maas", "noble jammy"), "no release 'noble jammy': write 'noble' and 'jammy' as names of their own"),
    (("--maas", "noble", "--arch", "x86"), "no architecture 'x86', 'amd64' was probably meant"),
    (("--maas", "noble", "--arch", "amd64,aarch64"), "no architecture 'aarch64', 'arm64' was probably meant"),
    (("--maas", "noble", "--arch", "i386"), "no architecture 'i386'"),
    (("--maas", "jammy", "--arch", "arm64"), "release 'jammy' has no images for arm64"),
    (("--maas", "jammy,noble", "--arch", "arm64"), "release 'jammy' has no images for arm64"),
    (("--maas", "noble,jammy", "os=ubunut"), "filter 'os=ubunut' matches nothing; os is one of: 'ubuntu'"),
    (("--maas", "noble,jammy", "release=noble"), "release 'jammy' has no images for release=noble"),
    (("--maas", "noble", "bootloader-type=uefi"), "release 'noble' has no images for bootloader-type=uefi"),
    (("release=nobel",), "release is one of: 'noble'"),
    (("release~(noble|jamy)",), "'jamy' in filter 'release~(noble|jamy)' matches nothing"),
    (("release~^nobel$|^jammy$",), "'nobel' in filter"),
    (("release~(?i)NOBLE|JAMY",), "'JAMY' in filter"),
]


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree of noble for two architectures, and jammy for one."""
    tree = maas_tree(tmp_path / "upstream", key, releases=("24.04",), arches=("amd64", "arm64"))
    product = "com.ubuntu.maas.stable:v3:boot:22.04:amd64:ga-22.04"
    tree.product(product, arch="amd64", os="ubuntu", release="jammy", version="22.04", subarch="ga-22.04")
    tree.add_item(product, "20250709", "squashfs", size=9000, ftype="squashfs")
    tree.publish()
    return tree


@pytest.fixture
def commands(tmp_path: Path, origin: Origin, keyring: Path) -> Commands:
    """Return the commands for that tree."""
    return Commands(tmp_path, origin, keyring)


async def test_a_name_that_no_list_has_fails_before_anything_is_fetched(
    commands: Commands, origin: Origin
) -> None:
    for selection, told in MISSPELT:
        result = await commands.run("prefetch", *selection)
        assert result.returncode == 1, selection
        assert told in result.stderr
        assert "may name tomorrow" in result.stderr or "is one of" in result.stderr
    assert all(request.path.startswith("streams/") for request in origin.requests)


@pytest.mark.parametrize("command", ["ready", "query", "pin", "evict", "purge"])
async def test_each_command_refuses_a_name_that_no_list_has(commands: Commands, command: str) -> None:
    await commands.run("prefetch", "--maas", "8")
    pins = await commands.in_ledger(lambda ledger: Pins(ledger).names())

    result = await commands.run(command, "--maas", "8,nobel")

    assert result.returncode == 1
    assert "no release 'nobel', 'noble' was probably meant" in result.stderr
    assert await commands.in_ledger(lambda ledger: Pins(ledger).names()) == pins


@pytest.mark.parametrize(
    "selection",
    [
        ("--maas", "noble,jammy"),
        ("--maas", "24.04,JAMMY", "--arch", "AMD64"),
        ("--maas", "noble,", "--arch", "amd64"),
        ("--maas", "8"),
        ("release~(noble|jammy)", "--max=1"),
        ("os~(grub*|pxelinux)", "--max=1"),
        ("subarch~^(hwe|ga)-2[24]", "--max=5"),
        ("release!~^(focal|bionic)$", "arch!=x86"),
    ],
)
async def test_names_that_exist_pass_however_they_are_written(
    commands: Commands, selection: tuple[str, ...]
) -> None:
    fetched = await commands.run("prefetch", *selection)
    ready = await commands.run("ready", *selection)

    assert (fetched.returncode, ready.returncode) == (0, 0), fetched.stderr + ready.stderr


async def test_what_may_be_an_error_but_misses_nothing_is_warned_of(commands: Commands) -> None:
    negated = await commands.run("prefetch", "--dry-run", "arch!=x86")
    pattern = await commands.run("prefetch", "--dry-run", "release~(noble|foc+l)")
    pair = await commands.run("prefetch", "--dry-run", "--maas", "noble,jammy", "--arch", "amd64,arm64")

    assert (negated.returncode, pattern.returncode, pair.returncode) == (0, 0, 0)
    assert "'arch!=x86' leaves nothing out; arch is one of: " in negated.stderr
    assert "'foc+l' in filter 'release~(noble|foc+l)' matches nothing" in pattern.stderr
    assert "release 'jammy' has no images for architecture 'arm64'" in pair.stderr


@pytest.mark.parametrize("selection", [("--maas", ""), ("--maas", " , "), ("--maas", "noble", "--arch", "")])
async def test_an_empty_name_is_not_everything(
    commands: Commands, origin: Origin, selection: tuple[str, ...]
) -> None:
    """`--maas "$RELEASES"` with nothing in it."""
    for command in ("prefetch", "ready", "evict"):
        result = await commands.run(command, *selection)
        assert result.returncode == 2
        assert f"{selection[-2]} is empty: write names, such as" in result.stderr
    assert not origin.requests


@pytest.fixture
async def two_mirrors(
    tmp_path: Path, key: SigningKey, origin: Origin, keyring: Path
) -> AsyncIterator[Commands]:
    """Return the commands of a site that has another, small mirror, b, after the first."""
    other = SignedTree(tmp_path / "other", key)
    other.product("p", arch="riscv64", os="ubuntu", release="resolute", version="26.04")
    other.add_item("p", "20260801", "squashfs", size=9000, ftype="squashfs")
    other.publish()
    async with Origin(other.root) as second:
        settings = f'[[mirror]]\nname = "b"\nmount = "/b/"\norigins = ["{second.url}"]\n'
        yield Commands(tmp_path, origin, keyring, f'{settings}keyring = "{keyring}"\n')


async def test_names_may_be_of_any_mirror_and_one_that_gives_nothing_is_named(two_mirrors: Commands) -> None:
    both = ("--mirror", "maas", "--mirror", "b")
    joined = await two_mirrors.run("prefetch", *both, "--maas", "noble,resolute")
    nothing = await two_mirrors.run("prefetch", *both, "--maas", "noble")

    assert joined.returncode == 0, joined.stderr
    assert nothing.returncode == 1
    assert "mirror 'b' has nothing of what is selected: leave it out" in nothing.stderr


async def test_a_word_that_is_no_filter_names_a_mirror(two_mirrors: Commands) -> None:
    """For `prefetch` too, whose words are those of the `ready` that names it."""
    await two_mirrors.run("offline", "off")  # Makes the data directory, and asks no origin.
    early = await two_mirrors.run("ready", "b", "os=ubuntu")
    fetched = await two_mirrors.run("prefetch", "b", "os=ubuntu")
    alike = [
        await two_mirrors.run("ready", *words)
        for words in (("b",), ("os=ubuntu", "b"), ("--mirror", "b"), ("--mirror", "b", "b"))
    ]
    both = await two_mirrors.run("ready", "b", "maas", "os=ubuntu")
    wrong = [await two_mirrors.run(command, "noble") for command in ("ready", "prefetch")]

    assert (early.returncode, fetched.returncode, both.returncode) == (1, 0, 1), fetched.stderr
    assert "`prefetch` with the same words" in early.stderr
    assert "b streams/v1/index" in early.stdout
    assert {(one.returncode, one.stdout) for one in alike} == {(0, alike[0].stdout)}
    assert "maas streams/v1/index" in both.stdout
    for one in wrong:
        assert one.returncode == 2
        assert "there is no mirror 'noble'; there are: maas, b; a release is selected by" in one.stderr


@pytest.mark.parametrize("rule", ['maas = ["noble", "nobel"]', 'filters = ["release~(noble|nobel)"]'])
async def test_a_rule_fetches_what_there_is_and_the_rest_is_a_problem(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path, rule: str
) -> None:
    settings = f'[[prefetch]]\nname = "lab"\nmirror = "maas"\nmax = 1\n{rule}\nschedule = "daily"\n'
    commands = Commands(tmp_path, origin, keyring, settings)

    synced = await commands.run("sync")
    ready = await commands.run("ready", "--rule", "lab")
    stats = await commands.run("stats")
    listed = await commands.run("sync", "--list")
    noble = [item for item in tree.items if item.path.startswith("noble/amd64/20250709/")]

    assert synced.returncode == 3
    assert "'nobel'" in synced.stdout
    assert ready.returncode == 1
    assert "not ready: " in ready.stderr
    assert "'nobel'" in ready.stderr
    assert "rule lab names what no list has" in stats.stdout.replace("\n", " ")
    assert "'nobel'" in stats.stdout
    assert "'nobel'" in listed.stdout
    assert len(await commands.held(noble)) >= len(noble) - 2  # MAAS wants no manifests.


async def test_what_a_rule_names_wrongly_is_told_once(tmp_path: Path, origin: Origin, keyring: Path) -> None:
    settings = '[[prefetch]]\nname = "lab"\nmirror = "maas"\nmaas = ["noble", "nobel"]\n'
    commands = Commands(tmp_path, origin, keyring, settings)
    await commands.run("sync")
    await origin.stop()

    await commands.run("sync")
    stats = await commands.run("stats")
    problems = [line for line in stats.stdout.splitlines() if line.startswith("rule lab")]

    assert len(problems) == 2
    assert "names what no list has: no release 'nobel'" in problems[0]
    assert "was not complete: its lists could not be checked" in problems[1]
    assert "nobel" not in problems[1]


async def test_a_field_that_no_item_has_is_told_once(tmp_path: Path, origin: Origin, keyring: Path) -> None:
    told = (await Commands(tmp_path, origin, keyring).run("query", "relase=noble")).stderr

    assert told.count("'release' was probably meant") == 1
    assert "filter 'relase=noble' matches nothing" in told


async def test_a_rule_of_which_no_list_has_anything_says_so(
    tmp_path: Path, origin: Origin, keyring: Path
) -> None:
    settings = '[[prefetch]]\nname = "lab"\nmirror = "maas"\nfilters = ["release~(nobel|jamy)"]\n'
    commands = Commands(tmp_path, origin, keyring, settings)

    synced = await commands.run("sync")
    stats = await commands.run("stats")

    assert synced.returncode == 1
    assert "release is one of: 'noble'" in synced.stdout.replace("\n", " ")
    assert "rule lab was not complete" in stats.stdout.replace("\n", " ")


async def test_a_release_that_comes_later_is_found_by_the_next_run(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path
) -> None:
    settings = '[[prefetch]]\nname = "lab"\nmirror = "maas"\nmaas = ["noble", "resolute"]\n'
    commands = Commands(tmp_path, origin, keyring, settings)
    before = await commands.run("sync")
    product = "com.ubuntu.maas.stable:v3:boot:26.04:amd64:ga-26.04"
    tree.product(product, arch="amd64", os="ubuntu", release="resolute", version="26.04")
    tree.add_item(product, "20260801", "squashfs", size=9000, ftype="squashfs")
    tree.publish()

    after = await commands.run("sync")
    ready = await commands.run("ready", "--rule", "lab")
    stats = await commands.run("stats")

    assert (before.returncode, after.returncode, ready.returncode) == (3, 0, 0)
    assert f"+ {product} 20260801" in after.stdout
    assert "names what no list has" not in stats.stdout.replace("\n", " ")


async def test_names_may_be_given_one_by_one_and_none_is_passed_over(commands: Commands) -> None:
    """The last of several is not all of them: its success would pass for theirs."""
    misspelt = [
        ("--maas", "nobel", "--maas", "noble"),
        ("--maas", "noble", "--arch", "x86", "--arch", "amd64"),
    ]
    for selection in misspelt:
        result = await commands.run("prefetch", *selection)
        assert result.returncode == 1, selection
        assert "was probably meant" in result.stderr

    both = await commands.run(
        "query", "--maas", "noble", "--maas", "jammy", "--format", "%(mirror)s %(path)s"
    )
    in_one = await commands.run("query", "--maas", "noble,jammy", "--format", "%(mirror)s %(path)s")
    assert both.returncode == 0
    assert both.stdout == in_one.stdout


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("ready", "--rule", "bad", "--rule", "good"), "--rule"),
        (("prefetch", "--max", "3", "release=noble", "--max", "1"), "--max"),
        (("unpin", "--name", "a", "--name", "b"), "--name"),
        (("query", "--format", "a", "--format", "b"), "--format"),
    ],
)
async def test_what_can_be_said_once_is_not_said_twice(
    commands: Commands, command: tuple[str, ...], option: str
) -> None:
    result = await commands.run(*command)

    assert result.returncode == 2
    assert f"{option} is given 2 times: give it once" in result.stderr


async def test_what_a_rule_selects_is_not_narrowed(commands: Commands) -> None:
    for other in (("--arch", "amd64"), ("maas",)):
        result = await commands.run("ready", "--rule", "lab", *other)

        assert result.returncode == 2
        assert "--rule says it all" in result.stderr


async def test_a_data_directory_that_was_not_there_is_told_of(commands: Commands) -> None:
    """`--data-dir` with a typing error does something, and to nobody's cache."""
    elsewhere = commands.data.with_name("dta")

    first = await commands.run("offline", "on", "--data-dir", str(elsewhere))
    second = await commands.run("offline", "off", "--data-dir", str(elsewhere))

    assert first.stderr.splitlines()[0] == f"note: there is no folder {elsewhere} yet; it will be made"
    assert second.stderr == ""
