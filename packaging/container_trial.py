"""Whether the container works: run as root in a network of its own, by try_container.py.

python3 container_trial.py FOLDER RUN [ASK]...

RUN starts the container, each ASK is a command for it, as packaging/README.md has them. Its configuration and
the tree of its mirror are made in FOLDER. Serves, is asked for its health, and ends while a client downloads.
"""

import shlex
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

from running_service import ask, wait_until
from signed_tree import IMAGE, ITEM, Origin, export_keyring, make_tree, mirror, origin
from trial import expect, run, step

_CONFIGURATION = "/etc/sstream-proxy"
_NAME = "sstream-proxy"
_USER = "10001"
_WHOLE = (HTTPStatus.OK, IMAGE)


def main(folder: Path, start: str, *asks: str) -> int:
    """Go through the life of a container; return the exit code."""
    tree, configuration = folder / "tree", folder / "configuration"
    shutil.rmtree(folder, ignore_errors=True)
    configuration.mkdir(parents=True)
    run("podman", "rm", "--force", "--ignore", _NAME)  # What a trial has left that failed.
    run("podman", "volume", "prune", "--force")
    make_tree(tree)
    export_keyring(tree, configuration / "keyring.gpg")
    (configuration / "keyring.gpg").chmod(0o644)
    command = shlex.split(start.replace(f"{_CONFIGURATION}:", f"{configuration}:", 1))
    with origin(tree) as serving:
        settings = mirror(serving.url, Path(_CONFIGURATION, "keyring.gpg"))
        (configuration / "config.toml").write_text(settings)
        step("run, read-only, as nobody in particular")
        serve(command)
        expect(run("podman", "exec", _NAME, "id", "-u").strip() == _USER, "it has another user")
        step("ask for an image")
        expect(ask(f"/m/{ITEM}") == _WHOLE, "the image is not served")
        for asked in asks:
            print(run(*shlex.split(asked)))
        stop_while_downloading(serving)
    # The origin has gone: what is served now was kept in the volume.
    step("another container with the same volume")
    run("podman", "rm", _NAME)
    serve(command)
    expect(ask(f"/m/{ITEM}") == _WHOLE, "the image is not served")
    run("podman", "stop", _NAME)
    run("podman", "rm", _NAME)
    run("podman", "volume", "rm", _NAME)
    print("the container works")
    return 0


def serve(command: list[str]) -> None:
    """Start the container, and wait until it is well, in its own words too."""
    run(*command)
    wait_until(lambda: ask("/-/health")[0] == HTTPStatus.OK, "it does not answer")
    run("podman", "healthcheck", "run", _NAME)


def stop_while_downloading(serving: Origin) -> None:
    """Stop it while an image is on its way: its client gets all of it, and the end is a good one."""
    step("stop while a client downloads: it gets all")
    run("podman", "exec", _NAME, "sstream-proxy", "purge", "ftype=squashfs")
    serving.hold()
    with ThreadPoolExecutor() as threads:
        reply = threads.submit(ask, f"/m/{ITEM}")
        expect(serving.is_held.wait(60), "the origin is not asked")
        stopped = threads.submit(run, "podman", "stop", _NAME)
        wait_until(lambda: ask("/-/health")[0] == 0, "it still answers")
        serving.goes_on.set()
        expect(reply.result() == _WHOLE, "the download was cut")
        stopped.result()
    code = run("podman", "inspect", "--format", "{{.State.ExitCode}}", _NAME).strip()
    expect(code == "0", f"it ended with {code}")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
