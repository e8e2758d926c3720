"""TLS settings, files that cannot be used, and noticing that files are new."""

import os
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.certificates import Certificate, make_certificate

from proxy.config.tls import BadCertificate, FileWatch, Tls, tls_context


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


def tls_of(certificate: Certificate, client_ca: Path | None = None) -> Tls:
    return Tls(certificate=certificate.chain, key=certificate.key, client_ca=client_ca)


def test_without_a_certificate_there_is_no_tls() -> None:
    assert tls_context(Tls()) is None


def test_only_ciphers_with_forward_secrecy_and_authentication_are_spoken(certificate: Certificate) -> None:
    context = tls_context(tls_of(certificate))
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    for cipher in context.get_ciphers():
        assert cipher["aead"], cipher
        assert cipher["protocol"] == "TLSv1.3" or cipher["name"].startswith("ECDHE-"), cipher
    assert context.verify_mode == ssl.CERT_NONE


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def encrypted(path: Path) -> None:
    command = ["openssl", "pkcs8", "-topk8", "-passout", "pass:secret", "-in", str(path)]
    path.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)


def of_another(path: Path) -> None:
    (path.parent / "other").mkdir()
    path.write_bytes(make_certificate(path.parent / "other").key.read_bytes())


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("name", "spoil", "told"),
    [
        ("chain", Path.unlink, "certificate: {} cannot be read: No such file"),
        ("chain", folder, "certificate: {} cannot be read: Is a directory"),
        ("chain", half, "certificate: {} holds no whole certificate"),
        ("chain", lambda path: path.write_text(""), "certificate: {} holds no whole certificate"),
        ("key", Path.unlink, "key: {} cannot be read"),
        ("key", half, "key: {} holds no private key"),
        ("key", encrypted, "key: {} holds no private key in PEM without a password"),
        ("key", of_another, "key: {} is not the key of"),
        ("authority", half, "client_ca: {} holds no whole certificate"),
        ("authority", lambda path: path.write_text("junk"), "client_ca: {} holds no whole certificate"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_key_and_what_is_wrong(
    certificate: Certificate, name: str, spoil: Callable[[Path], None], told: str
) -> None:
    path = getattr(certificate, name)
    spoil(path)
    with pytest.raises(BadCertificate) as caught:
        tls_context(tls_of(certificate, certificate.authority))
    assert told.format(path) in str(caught.value)
    assert "PRIVATE KEY" not in str(caught.value)


def test_a_change_is_told_of_once_it_stands_still(tmp_path: Path) -> None:
    """Not at half of it, and again and again until somebody has taken it over."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("1")
    watch = FileWatch([one, two], every_s=10, now=100)
    told = [watch.has_changed(now) for now in (100, 110, 120)]
    one.write_text("22")
    told.append(watch.has_changed(130))
    two.write_text("22")
    told += [watch.has_changed(now) for now in (140, 145, 150, 155, 160)]

    assert told == [False, False, False, False, False, False, True, False, True]
    assert not FileWatch([one, two], every_s=10, now=100).has_changed(200)


@pytest.mark.parametrize("way", ["replaced", "chmod", "removed", "same size"])
def test_any_way_to_change_a_file_is_noticed(tmp_path: Path, way: str) -> None:
    """Certbot replaces symbolic links, others write in place or mend permissions."""
    real, path = tmp_path / "real", tmp_path / "link"
    real.write_text("1")
    path.symlink_to(real)
    os.utime(real, (1, 1))
    watch = FileWatch([path], every_s=1, now=0)
    if way == "replaced":
        (tmp_path / "next").write_text("1")
        (tmp_path / "new").symlink_to(tmp_path / "next")
        (tmp_path / "new").replace(path)
    elif way == "chmod":
        real.chmod(0o600)
    elif way == "removed":
        path.unlink()
    else:
        real.write_text("2")
        os.utime(real, (1, 1))
    assert [watch.has_changed(now) for now in (1, 2)] == [False, True]


def test_with_no_time_to_look_nothing_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "one"
    watch = FileWatch([path], every_s=0, now=0)
    path.write_text("1")
    assert not any(watch.has_changed(now) for now in range(0, 1000, 100))
