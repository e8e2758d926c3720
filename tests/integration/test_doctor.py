"""The command `doctor`, against servers that others wrote, our own, and one with a dozen faults at once."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.certificates import Certificate, make_certificate
from support.commands import Commands
from support.examining import Doctor
from support.faults import Fault
from support.images import image_tree
from support.keys import SigningKey
from support.maas import BOOTLOADER_CONTENT_ID, maas_tree
from support.origin import Origin
from support.running import make_config, run_proxy
from support.tree import SignedTree
from support.warm import run_warm

from proxy.cli import main
from proxy.doctor.bounds import Bounds
from proxy.doctor.findings import Severity
from proxy.mirror import Mirror

MAAS = ("maas", "maas-3.4", "maas-3.5", "maas-3.6", "maas-3.7", "maas-3.8", "sstream")
OTHERS = ("lxd", "incus", "juju", "virt-builder", "multipass", "sstream")
FAULT, WARNING = Severity.FAULT, Severity.WARNING
NGINX = shutil.which("nginx") or ""
needs_nginx = pytest.mark.skipif(not NGINX, reason="nginx is not installed")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> SignedTree:
    return maas_tree(tmp_path_factory.mktemp("good") / "tree", key, scale=1 / 10_000)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> SignedTree:
    return image_tree(tmp_path_factory.mktemp("images") / "tree", key)


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


async def run(*arguments: object, **environ: str) -> tuple[int, str, str]:
    """Run the command; return its exit code, what it says, and its complaints."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    status, out, err = await run_warm(["doctor", *map(str, arguments)], {**kept, **environ})
    assert b"Traceback" not in err, err.decode()
    return status, out.decode(), err.decode()


async def report(*arguments: object, **environ: str) -> dict[str, Any]:
    """Return the report as JSON."""
    code, out, err = await run(*arguments, "--json", **environ)
    assert code in {0, 1}, err
    found: dict[str, Any] = json.loads(out)
    assert code == (0 if found["content"] else 1)
    return found


def codes(found: dict[str, Any], kind: str = "faults") -> list[str]:
    return [one["code"] for one in found[kind]]


async def test_a_dozen_faults_of_one_mirror_are_found_at_once(good: SignedTree, keyring: Path) -> None:
    newest, older = "noble/amd64/20250709", "noble/amd64/20250618"
    faults = {
        "streams/v1/index.sjson": (Fault(headers={"Date": "Tue, 01 Jan 2019 00:00:00 GMT"}), "clock"),
        f"streams/v1/{BOOTLOADER_CONTENT_ID}.sjson": (Fault(corrupt_at=400), "signature-bad"),
        f"{newest}/squashfs": (Fault(corrupt_at=3), "item-hash"),
        f"{newest}/ga-24.04/generic/boot-kernel": (Fault(status=404), "item-absent"),
        f"{newest}/ga-24.04/generic/boot-initrd": (Fault(content_encoding="gzip"), "encoding-false"),
        f"{newest}/hwe-24.04/generic/boot-kernel": (Fault(redirect_to="/elsewhere"), "redirected"),
        f"{newest}/hwe-24.04/generic/boot-initrd": (Fault(cut_after=50), "cut"),
        f"{older}/squashfs": (Fault(status=403), "denied"),
        "centos/8/amd64/20250709_01/root-tgz": (Fault(truncate_to=50), "item-size"),
        "centos/8/amd64/20250618_01/root-tgz": (Fault(body=b"<html>log in"), "login-page"),
        f"{older}/ga-24.04/generic/boot-kernel": (Fault(refuse=True), "closed"),
        f"{older}/hwe-24.04/generic/boot-kernel": (
            Fault(content_encoding="br"),
            "encoding-unasked",
        ),
    }
    async with Origin(good.root) as origin:
        for path, (fault, _) in faults.items():
            origin.fault(path, fault)
        found = await report(origin.url, "--as", "maas", "--keyring", keyring)

    seen = {*codes(found), *codes(found, "warnings")}
    assert len(faults) == 12
    assert {code for _, code in faults.values()} <= seen
    assert not found["content"]


async def test_a_plain_server_of_files_is_good(good: SignedTree, doctor: Doctor) -> None:
    """Python's own, which knows neither ranges nor kept connections."""
    with served("http.server", "--directory", good.root) as port:
        for client in ("maas", "maas-3.5", "sstream"):
            found = await doctor.examine(f"http://127.0.0.1:{port}/", client)

            assert not found.of(FAULT), client
            assert {one.code for one in found.of(WARNING)} <= {"range-ignored", "stray-chunk"}, client


@needs_nginx
async def test_nginx_is_good(good: SignedTree, doctor: Doctor, tmp_path: Path) -> None:
    with nginx(tmp_path, good.root, "") as port:
        for client in MAAS:
            found = await doctor.examine(f"http://127.0.0.1:{port}/", client, bounds=Bounds(load=40))

            assert not found.of(FAULT), client
            assert {one.code for one in found.of(WARNING)} <= {"stray-chunk"}, client


@needs_nginx
async def test_nginx_with_tls_is_good(
    images: SignedTree, doctor: Doctor, tmp_path: Path, certificate: Certificate
) -> None:
    tls = f"ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};"
    with nginx(tmp_path, images.root, tls, " ssl") as port:
        for client in OTHERS:
            url = f"https://127.0.0.1:{port}/"
            found = await doctor.examine(url, client, authority=certificate.authority)

            assert not found.of(FAULT), client
            assert not found.of(WARNING), client


@needs_nginx
@pytest.mark.parametrize(
    ("settings", "client", "code"),
    [
        ("types { } default_type text/html; charset utf-16; charset_types *;", "maas", "charset"),
        ("location ~ squashfs$ { return 302 http://127.0.0.1:9/; }", "maas", "redirected"),
        ("location ~ squashfs$ { return 404; }", "maas", "item-absent"),
        ("location ~ sjson$ { deny all; }", "maas", "denied"),
        ("location ~ sjson$ { add_header Content-Encoding gzip; }", "sstream", "encoding-false"),
        ("location ~ squashfs$ { auth_basic x; auth_basic_user_file /dev/null; }", "maas", "denied"),
        ("max_ranges 0;", "sstream", "range-ignored"),
    ],
)
async def test_what_is_set_wrong_in_nginx_is_found(
    settings: str, client: str, code: str, good: SignedTree, doctor: Doctor, tmp_path: Path
) -> None:
    with nginx(tmp_path, good.root, settings) as port:
        found = await doctor.examine(f"http://127.0.0.1:{port}/", client)

    assert code in {one.code for one in (*found.of(FAULT), *found.of(WARNING))}, found


async def test_our_own_server_is_good_to_every_client(
    good: SignedTree,
    images: SignedTree,
    keyring: Path,
    tmp_path: Path,
    certificate: Certificate,
    doctor: Doctor,
) -> None:
    async with Origin(good.root) as first, Origin(images.root) as second:
        mirrors = (
            Mirror(name="maas", mount="/maas/", origins=(first.url,), keyring=str(keyring)),
            Mirror(name="images", mount="/images/", origins=(second.url,), keyring=str(keyring)),
        )
        async with run_proxy(make_config(tmp_path / "data", *mirrors), tls=certificate.server) as proxy:
            tried = [*(("maas", one) for one in MAAS), *(("images", one) for one in OTHERS)]
            for (mount, client), tail in product(tried, ("/", "")):
                url = f"{proxy.base}/{mount}{tail}"
                found = await doctor.examine(url, client, authority=certificate.authority)

                assert not found.of(FAULT), (url, client)
                assert not found.of(WARNING), (url, client)
                assert found.tried["whole_items"] > 0


async def test_without_a_url_every_mirror_of_the_configuration_is_tried(
    good: SignedTree, keyring: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with Origin(good.root) as origin:
        commands = Commands(tmp_path, origin, keyring)
        settings = commands.config.read_text()
        commands.config.write_text(f'listen = ["0.0.0.0:{port}"]\n{settings}')
        code, out, _ = await run("--as", "maas", "--config", commands.config, "--json")

    assert code == 1
    (found,) = json.loads(out)
    assert found["url"] == f"http://127.0.0.1:{port}/m/"
    assert codes(found) == ["refused"]


async def test_the_json_form_is_what_others_rely_on(good: SignedTree, keyring: Path) -> None:
    async with Origin(good.root) as origin:
        origin.fault("noble/amd64/20250709/squashfs", Fault(corrupt_at=3))
        found = await report(origin.url, "--as", "maas", "--keyring", keyring)

    assert found["schema"] == 1
    assert found["client"] == "maas"
    assert found["url"] == origin.url
    assert found.keys() == {
        "schema",
        "client",
        "url",
        "content",
        "faults",
        "warnings",
        "notes",
        "tried",
        "took_s",
    }
    (fault,) = found["faults"]
    assert fault.keys() == {"code", "says", "mend", "who", "evidence"}
    assert fault["code"] == "item-hash"
    assert fault["evidence"]["url"].endswith("/noble/amd64/20250709/squashfs")


async def test_each_fault_has_a_line_with_what_to_do(good: SignedTree, keyring: Path) -> None:
    async with Origin(good.root) as origin:
        origin.fault("noble/amd64/20250709/squashfs", Fault(status=404))
        origin.fault("centos/8/amd64/20250709_01/root-tgz", Fault(body=b"\x1b[2Jx"))
        code, out, err = await run(origin.url, "--as", "maas", "--keyring", keyring)

    lines = [line for line in out.splitlines() if line.startswith("fault: ")]
    assert code == 1
    assert {line.split(": ")[1] for line in lines} == {"item-size", "item-absent"}
    assert "fetch what is missing" in out
    assert "would not be content" in out.splitlines()[-1]
    assert "\x1b" not in out + err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("mirror.lan/images", "--as", "maas"), "no URL"),
        (("http://mirror.lan/", "--as", "nobody"), "there is no client"),
        (("http://mirror.lan/",), "--as"),
        (("file:///srv", "--as", "maas"), "no URL"),
        (("http://h:99999/", "--as", "maas"), "no URL"),
        (("http://h/", "--as", "maas", "--keyring", "/nowhere.gpg"), "no such file"),
        (("http://h/", "--as", "maas", "--keyring", "/dev/null"), "no file"),
        (("http://h/", "--as", "lxd", "--ca", "/etc/hostname"), "--ca"),
        (("http://h/", "--as", "maas", "--load", "9999"), "--load"),
    ],
)
def test_a_wrong_command_line_is_told_by_exit_code_2(arguments: tuple[str, ...], says: str) -> None:
    result = CliRunner().invoke(main, ["doctor", *arguments])

    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


async def test_an_interruption_ends_it_cleanly(good: SignedTree, keyring: Path) -> None:
    async with Origin(good.root) as origin:
        origin.fault("noble/*", Fault(latency_s=600))
        command = (
            sys.executable,
            "-m",
            "proxy",
            "doctor",
            origin.url,
            "--as",
            "maas-3.4",
            "--keyring",
            str(keyring),
        )
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        await origin.arrived("noble/*")
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()

    assert process.returncode == 130
    assert (out, err) == (b"", b"interrupted\n")


@contextmanager
def served(module: str, *arguments: object) -> Iterator[int]:
    """Run a server of Python's library on a free port; it says which."""
    command = [sys.executable, "-u", "-m", module, "0", "--bind", "127.0.0.1", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield int(line.split(" port ")[1].split()[0])
        finally:
            process.kill()


@contextmanager
def nginx(folder: Path, root: Path, settings: str, listening: str = "") -> Iterator[int]:
    """Run nginx over a tree, with more settings; it takes its port over from here, so it is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(
            f"{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;\n"
            "events { worker_connections 512; }\n"
            f"http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;\n"
            f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
            "default_type application/octet-stream;\n"
            f"server {{ listen 127.0.0.1:{port}{listening}; root {root}; {settings} }} }}\n"
        )
        os.set_inheritable(listener.fileno(), True)
        environ = {**os.environ, "NGINX": f"{listener.fileno()};"}
        command = [NGINX, "-p", str(folder), "-c", str(config)]
        process = subprocess.Popen(
            command, env=environ, pass_fds=(listener.fileno(),), stderr=subprocess.DEVNULL
        )
    try:
        yield port
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()
