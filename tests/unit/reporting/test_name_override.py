"""What name servers are told: read by the very programs, where they are installed."""

import shutil
import ssl
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from proxy.mirror import Mirror
from proxy.reporting.name_override import (
    FORMS,
    TITLES,
    answered_names,
    bind_zone,
    certificate_lines,
    dns_name,
    ports_of,
)

NAMES = ("images.maas.io", "cloud-images.ubuntu.com")
ADDRESSES = ("192.0.2.7", "2001:db8::7")


def mirror(*origins: str, **options: tuple[str, ...]) -> Mirror:
    return Mirror(name="m", mount="/m/", origins=origins, **options)  # type: ignore[arg-type]


def test_names_are_those_that_mirrors_answer_to() -> None:
    mirrors = [
        mirror("https://images.maas.io/a/", "http://192.0.2.9/a/", "file:///srv/images/"),
        mirror("https://IMAGES.maas.io./b/", "http://[2001:db8::9]/"),
        mirror("https://off.example/", answer_to=()),
        mirror("file:///srv/", answer_to=("http://site.example:8000/x/",)),
    ]
    assert answered_names(mirrors) == ["images.maas.io", "site.example"]
    assert ports_of(mirrors, "images.maas.io") == [80, 443]
    assert ports_of(mirrors, "site.example") == [8000]


def test_letters_beyond_ascii_are_written_as_name_servers_know_them() -> None:
    mirrors = [mirror("https://B\xfccher.example./x/", "http://xn--bcher-kva.example:8000/")]
    assert answered_names(mirrors) == [dns_name("b\xfccher.example.")] == ["xn--bcher-kva.example"]
    assert ports_of(mirrors, "xn--bcher-kva.example") == [80, 443, 8000]
    assert dns_name("a b/") == "a b/"


def run(*command: str, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def needs(program: str) -> Callable[..., object]:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def written(folder: Path, lines: Sequence[str]) -> Path:
    path = folder / "lines"
    path.write_text("\n".join(lines) + "\n")
    return path


@needs("dnsmasq")
def test_dnsmasq_takes_its_lines(tmp_path: Path) -> None:
    file = written(tmp_path, FORMS["dnsmasq"](NAMES, ADDRESSES))
    run("dnsmasq", "--test", f"--conf-file={file}", folder=tmp_path)


@needs("unbound-checkconf")
def test_unbound_takes_its_lines(tmp_path: Path) -> None:
    rest = [f'    directory: "{tmp_path}"', '    chroot: ""', '    username: ""']
    file = written(tmp_path, [*FORMS["unbound"](NAMES, ADDRESSES), *rest])
    run("unbound-checkconf", str(file), folder=tmp_path)


@needs("named-checkzone")
def test_bind_takes_its_zones(tmp_path: Path) -> None:
    run("named-checkzone", "rpz.x", str(written(tmp_path, FORMS["bind"](NAMES, ADDRESSES))), folder=tmp_path)
    for name in NAMES:
        run("named-checkzone", name, str(written(tmp_path, bind_zone(name, ADDRESSES))), folder=tmp_path)


@needs("named-checkconf")
def test_bind_takes_what_goes_into_its_configuration(tmp_path: Path) -> None:
    comments = [line.lstrip("; ") for line in FORMS["bind"](NAMES, ADDRESSES) if line.startswith(";   ")]
    (of_zone,) = [line.lstrip("; ") for line in bind_zone(NAMES[0], ADDRESSES) if line.startswith(";   ")]
    options, zone = comments
    run(
        "named-checkconf",
        str(written(tmp_path, [f"options {{ {options} }};", zone, of_zone])),
        folder=tmp_path,
    )


def test_what_no_program_here_can_read_is_as_its_documents_say() -> None:
    assert FORMS["hosts"](NAMES, ADDRESSES) == [
        "192.0.2.7 images.maas.io cloud-images.ubuntu.com",
        "2001:db8::7 images.maas.io cloud-images.ubuntu.com",
    ]
    record = "maas admin dnsresources create name=@ domain=images.maas.io address_ttl=300"
    assert FORMS["maas"](NAMES[:1], ADDRESSES) == [
        "maas admin domains create name=images.maas.io authoritative=true",
        f"{record} ip_addresses='192.0.2.7 2001:db8::7'",
    ]
    assert FORMS["dnsmasq"](NAMES[:1], ADDRESSES[:1]) == [
        "local=/images.maas.io/",
        "host-record=images.maas.io,192.0.2.7",
    ]
    assert FORMS.keys() == TITLES.keys()


@needs("openssl")
def test_the_certificate_is_good_for_all_names_and_addresses(tmp_path: Path) -> None:
    for line in certificate_lines(NAMES, ADDRESSES):
        run("sh", "-c", line, folder=tmp_path)
    for check in (
        *(f"-verify_hostname {name}" for name in NAMES),
        *(f"-verify_ip {one}" for one in ADDRESSES),
    ):
        verify = f"openssl verify -x509_strict -purpose sslserver -CAfile ca.crt {check} server.crt"
        run("sh", "-c", verify, folder=tmp_path)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
        tmp_path / "server.crt", tmp_path / "server.key"
    )
