"""The program and whoever started it: closed streams, readers that leave, odd letters, lost folders."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import Commands, Result, run_program
from support.faults import Fault
from support.origin import Origin
from support.tree import SignedTree

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
FULL_DISK = pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="/dev/full cannot be written here")
LONG = "a-version-whose-name-is-as-long-as-that-of-a-file-that-somebody-keeps-for-ten-years-in-a-box"


@pytest.fixture
def commands(tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path) -> Commands:
    for number in range(30):
        tree.add_item(PRODUCT, f"{LONG}-{number}", "squashfs", size=1000)
    tree.publish()
    commands = Commands(tmp_path, origin, keyring)
    (commands.data / "ledger").mkdir(parents=True)  # There is something to look at.
    return commands


def _script(commands: Commands, script: str) -> str:
    return f'proxy() {{ command {sys.executable} -m proxy "$@"; }}; C="--config {commands.config}"; {script}'


async def in_shell(commands: Commands, script: str, **environ: str) -> Result:
    """Run a line of bash in which `proxy` is the program, and `$C` its configuration."""
    line = _script(commands, script)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", line),
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return Result(line, process.returncode or 0, out.decode(), err.decode())


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "query --help",
        "check-config $C",
        "query $C",
        "query $C --json",
        "query $C --format '%(path)s'",
        "stats $C",
        "stats $C --json",
        "stats $C --watch",
        "stats $C --watch --json",
        "ready $C",
        "prefetch $C --dry-run",
        "prefetch $C --json",
        "pin $C ftype=squashfs",
        "refresh $C",
        "new-token",
        "completion bash",
    ],
)
async def test_a_reader_that_leaves_ends_a_command_in_silence(commands: Commands, command: str) -> None:
    """As `head` does, and as every program ends that the signal kills."""
    done = await in_shell(commands, f"proxy {command} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@FULL_DISK
async def test_progress_whose_reader_leaves_ends_a_prefetch_and_a_disk_that_is_full_does_not(
    commands: Commands,
) -> None:
    left = await in_shell(commands, "proxy prefetch $C 2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}")
    assert left.returncode == 128 + signal.SIGPIPE
    full = await in_shell(commands, "proxy prefetch $C 2>/dev/full")
    assert full.returncode == 0
    assert "fetched" in full.stdout


@pytest.mark.parametrize(("sent", "ends"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_an_interruption_says_what_to_type_and_that_goes_on(
    commands: Commands, tree: SignedTree, origin: Origin, sent: signal.Signals, ends: int
) -> None:
    items = [tree.add_item("p", "1", f"item{n}", size=400_000) for n in range(2)]
    tree.publish()
    stall = origin.fault("*item*", Fault(stall_after=250_000))
    command = await commands.start("prefetch", "product_name~^(p)$", "--jobs", "2")
    await commands.arrived_bytes(500_000)
    command.send_signal(sent)
    _, told = await command.communicate()
    stall.remove()
    await origin.idle()

    assert command.returncode == ends
    problem, again = told.decode().splitlines()[-2:]
    assert problem == "interrupted; what has arrived is kept; to go on from there, type again:"
    done = await in_shell(commands, again)
    assert done.returncode == 0, done.stderr
    assert "fetching 293.0 KiB in 2 files" in done.stderr
    assert await commands.held(items) == items


async def test_what_is_told_of_an_export_through_a_pipe_does_not_get_into_it(commands: Commands) -> None:
    """By programs nor by people: the tar is alone on standard output, and `import` takes it."""
    assert (await commands.run("prefetch")).returncode == 0
    whole = "set -o pipefail; proxy export $C --to - --json | proxy import $C - --json"
    done = await in_shell(commands, whole)
    assert done.returncode == 0
    for stream in (done.stdout, done.stderr):
        assert {"item", "summary"} & {json.loads(line)["event"] for line in stream.splitlines()}, stream
    done = await in_shell(commands, "proxy export $C --to - >/dev/null")
    assert "exporting " in done.stderr


async def test_a_terminal_sees_progress_that_waits_and_is_left_as_it_was(
    commands: Commands, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item("p", "1", "item", size=400_000)
    tree.publish()
    stall = origin.fault("*item*", Fault(stall_after=200_000))
    terminal, theirs = os.openpty()
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "prefetch", "--config", str(commands.config), "product_name=p"),
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = await asyncio.to_thread(_read_until, terminal, b"195.3 KiB of 390.6 KiB")
    stall.remove()
    command.terminate()
    await command.communicate()
    shown += await asyncio.to_thread(_read_until, terminal, b"type again:")
    os.close(terminal)

    assert command.returncode == 143
    assert b"\r 50%" in shown
    before, _, after = shown.rpartition(b"\r\x1b[K")
    assert after.startswith(b"interrupted; ")
    assert b"\n" not in before
    assert set(re.findall(rb"\x1b[^a-zA-Z]*[a-zA-Z]", before)) == {b"\x1b[K"}, "there is no colour"


@pytest.mark.parametrize("command", ["prefetch product_name=p", "sync"])
async def test_an_item_that_failed_is_told_once_to_who_reads_both_outputs(
    commands: Commands, tree: SignedTree, command: str
) -> None:
    """On a terminal, or in a file or a pipe; and to each of two readers."""
    gone, there = (tree.add_item("p", "1", name, size=4000) for name in ("gone", "there"))
    tree.publish()
    gone.data_path.unlink()
    rule = '[[prefetch]]\nname = "r"\nmirror = "maas"\nfilters = ["product_name=p"]\n'
    commands.config.write_text(commands.config.read_text() + rule)
    typed = f"proxy {command} $C"
    terminal, theirs = os.openpty()

    pipe = await in_shell(commands, f"{typed} 2>&1")
    apart = await in_shell(commands, typed)
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-c", _script(commands, typed)),
        env={**os.environ, "TERM": "xterm"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = await asyncio.to_thread(_read_all, terminal)
    os.close(terminal)

    assert (pipe.returncode, apart.returncode, await shell.wait()) == (3, 3, 3)
    for told in (pipe.stdout, shown):
        assert told.count(f"{gone.path}: no origin has") == 1
        assert "1 item FAILED: see above" in told
    for told in (apart.stdout, apart.stderr):
        assert told.count(f"{gone.path}: no origin has") == 1
        assert "see above" not in told
    assert await commands.held([there]) == [there]


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("new-token", [r"Authorization: Bearer \S{43}", r'token_sha256 = "[0-9a-f]{64}"']),
        ("hash-password <<<secret", [r"\$scrypt\$\S+"]),
    ],
)
async def test_what_a_secret_is_for_is_told_to_a_person_and_not_to_a_program(
    commands: Commands, command: str, lines: list[str]
) -> None:
    """A label before each line, where standard error is a terminal, wherever standard output leads."""
    alone = await in_shell(commands, f"proxy {command}")
    terminal, theirs = os.openpty()
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-c", _script(commands, f"proxy {command}; proxy {command} >/dev/null")),
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = (await asyncio.to_thread(_read_all, terminal)).splitlines()
    os.close(terminal)

    assert (alone.returncode, alone.stderr, await shell.wait()) == (0, "", 0)
    for found in (alone.stdout.splitlines(), shown[1 : 2 * len(lines) : 2]):
        assert len(found) == len(lines)
        assert all(re.fullmatch(*pair) for pair in zip(lines, found, strict=True)), found
    labels = shown[0 : 2 * len(lines) : 2]
    assert all(label.startswith("# for ") for label in labels)
    assert shown[2 * len(lines) :] == labels


def _read_all(terminal: int) -> str:
    """Return all that is written to a terminal until nobody has it open any more."""
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # So the kernel says it.
            return shown.decode()


def _read_until(terminal: int, wanted: bytes) -> bytes:
    shown = b""
    while wanted not in shown:
        shown += os.read(terminal, 4096)
    return shown


@FULL_DISK
@pytest.mark.parametrize(
    "command", ["--version", "check-config $C", "query $C", "stats $C", "stats $C --json"]
)
async def test_output_that_cannot_be_written_is_a_failure_and_says_which(
    commands: Commands, command: str
) -> None:
    done = await in_shell(commands, f"proxy {command} >/dev/full")
    assert (done.returncode, done.stderr) == (1, "Error: standard output: No space left on device\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
async def test_closed_streams_stay_nobodys(commands: Commands, closed: str) -> None:
    """No file or socket gets their numbers, and with them what is written there."""
    done = await in_shell(commands, f"proxy prefetch $C {closed}; proxy ready $C")
    assert done.returncode == 0
    assert "ready: 34 files, all verified" in done.stdout
    assert "Traceback" not in done.stderr
    empty = await in_shell(commands, f"proxy hash-password {closed} </dev/null")
    assert empty.returncode == 2


async def test_into_a_pipe_nothing_is_cut(commands: Commands) -> None:
    """However narrow the terminal is that the rest of the pipe has."""
    assert (await commands.run("prefetch", "--max=1")).returncode == 0
    done = await in_shell(commands, "proxy query $C; proxy stats $C", COLUMNS="40")
    rows = [line for line in done.stdout.splitlines() if line.split()[:1] == [PRODUCT]]
    assert len(rows) == 30
    assert all(f"{PRODUCT}  {LONG}-" in row and row.rstrip().endswith("/squashfs") for row in rows)
    assert "\N{HORIZONTAL ELLIPSIS}" not in done.stdout


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1"])
@pytest.mark.parametrize("name", ["B\u00fccher \u20ac", "\udcff\udcfe"], ids=ascii)
def test_letters_that_a_terminal_has_not_stop_no_command(tmp_path: Path, locale: str, name: str) -> None:
    plain = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    settings = tmp_path / f"{name}.toml"
    settings.write_text('[[mirror]]\nname = "m"\nmount = "/m/"\norigins = ["http://127.0.0.1/\u00fc/"]\n')
    for command in ("check-config", "stats"):
        done = run_program(command, "--config", str(settings), folder=tmp_path, HOME=str(tmp_path), **plain)
        assert "Traceback" not in done.stderr
    done = run_program("offline", "off", "--data-dir", str(tmp_path / name), folder=tmp_path, **plain)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / name / "ledger").is_dir()


def test_a_folder_that_was_removed_is_no_matter_until_it_is_meant(tmp_path: Path) -> None:
    gone = 'mkdir "$0" && cd "$0" && rmdir "$0" && exec "$@"'

    def run(*arguments: str) -> Result:
        command = [sys.executable, "-m", "proxy", *arguments]
        program = ["bash", "-c", gone, str(tmp_path / "gone"), *command]
        return subprocess.run(program, check=False, capture_output=True, text=True)

    assert run("offline", "off", "--data-dir", str(tmp_path / "data")).returncode == 0
    assert run("stats", "--data-dir", str(tmp_path / "data")).returncode == 0
    relative = run("stats", "--data-dir", "data")
    assert relative.returncode == 2
    assert "'data' is below the current folder, which was removed: write its whole path" in relative.stderr


@pytest.mark.parametrize("option", ["--data-dir", "--config"])
def test_an_empty_path_is_no_path(option: str, tmp_path: Path) -> None:
    """What an unset variable leaves; the current folder is not meant."""
    done = run_program("stats", option, "", folder=tmp_path)
    assert done.returncode == 2
    assert "the path is empty" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["statz"], "did you mean 'stats'?"),
        (["STATS"], "did you mean 'stats'?"),
        (["check_config"], "did you mean 'check-config'?"),
        (["prefecth", "--maas", "noble"], "did you mean 'prefetch'?"),
        (["stats", "--jsn"], "Did you mean --json?"),
        (["query", "--mirror", "maas-stabel"], "did you mean 'maas-stable'?"),
        (["refresh", "maas-candiate"], "did you mean 'maas-candidate'?"),
    ],
)
def test_a_typing_error_is_told_what_was_meant(typed: list[str], meant: str, tmp_path: Path) -> None:
    done = run_program(*typed, folder=tmp_path)
    assert done.returncode == 2
    assert meant in done.stderr.replace("Did you mean '--json'?", "Did you mean --json?")


def test_what_is_like_no_command_is_told_no_command(tmp_path: Path) -> None:
    done = run_program("xyzzy", folder=tmp_path)
    assert done.returncode == 2
    assert "there is no command 'xyzzy'\n" in done.stderr


@pytest.mark.parametrize("umask", ["000", "077", "777"])
def test_whatever_the_umask_the_data_directory_is_ours_and_no_strangers(tmp_path: Path, umask: str) -> None:
    line = f"umask {umask}; exec {sys.executable} -m proxy offline off --data-dir {tmp_path}/data"
    done = subprocess.run(["bash", "-c", line], check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]:
        mode = path.stat().st_mode & 0o777
        assert mode & 0o400, path
        assert not mode & 0o002, path


def test_a_server_whose_banner_nobody_reads_serves(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "proxy", "serve", "--offline", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--data-dir", str(tmp_path / "data")], stdout=writer, stderr=subprocess.PIPE, text=True
    ) as server:
        os.close(writer)
        assert server.stderr is not None
        assert any("worker.ready" in line for line in server.stderr)
        server.terminate()
        server.stderr.read()
    assert server.returncode == 0
