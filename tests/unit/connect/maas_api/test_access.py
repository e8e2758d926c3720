"""Keys of a MAAS: read in MAAS's form, signed as MAAS checks it, and never shown."""

from urllib.parse import unquote

import pytest

from proxy.connect.addresses import is_same_source, is_same_tree, maas_base, without_password
from proxy.connect.errors import KeyFault, MaasFault
from proxy.connect.maas_api.access import ApiKey


def test_a_request_is_signed_by_the_tokens_secret_alone() -> None:
    header = ApiKey.parse("con:tok:sec~ret\n").authorization("abc", 1_750_000_000)

    fields = dict(one.split("=", 1) for one in header.removeprefix("OAuth ").split(", "))
    told = {name: unquote(value.strip('"')) for name, value in fields.items()}
    assert told == {
        "oauth_version": "1.0",
        "oauth_signature_method": "PLAINTEXT",
        "oauth_consumer_key": "con",
        "oauth_token": "tok",
        "oauth_signature": "&sec~ret",
        "oauth_nonce": "abc",
        "oauth_timestamp": "1750000000",
    }
    assert fields["oauth_signature"] == '"%26sec~ret"'


@pytest.mark.parametrize(
    "text", ["", "\n \n", "one", "a:b", "a:b:c:d", "a:b:c\nd:e:f", "a::c", 'a:b"c:d', "a:b c:d"], ids=ascii
)
def test_what_is_no_key_is_told_without_being_repeated(text: str) -> None:
    with pytest.raises(KeyFault) as fault:
        ApiKey.parse(text)

    assert "API key" in str(fault.value)
    assert len(text.strip()) < 5 or text.strip() not in str(fault.value)


@pytest.mark.parametrize("text", ["con:tok:sec\r\n", "\ufeffcon:tok:sec", "# of admin\n\n con:tok:sec \n"])
def test_a_file_of_a_key_may_have_comments_and_odd_ends_of_lines(text: str) -> None:
    assert ApiKey.parse(text) == ApiKey("con", "tok", "sec")


def test_a_key_does_not_show_itself() -> None:
    assert "tok" not in repr(ApiKey.parse("con:tok:sec"))
    assert "sec" not in repr(ApiKey.parse("con:tok:sec"))


@pytest.mark.parametrize(
    "written",
    [
        "http://maas:5240/MAAS",
        "http://maas:5240/MAAS/",
        "http://maas:5240/MAAS/r/machines",
        "http://maas:5240/MAAS/api/2.0/",
        "http://maas:5240",
        "http://MAAS:5240/",
        " http://maas:5240/MAAS/l/images#top ",
    ],
)
def test_a_maas_may_be_written_as_it_stands_in_a_browser(written: str) -> None:
    assert maas_base(written) == "http://maas:5240/MAAS/"


def test_usual_ports_odd_hosts_and_paths_before_maas_are_kept_apart() -> None:
    assert maas_base("https://maas:443/MAAS") == "https://maas/MAAS/"
    assert maas_base("http://[::1]:5240/MAAS") == "http://[::1]:5240/MAAS/"
    assert maas_base("https://site/infra/MAAS/r/") == "https://site/infra/MAAS/"


@pytest.mark.parametrize(
    "written", ["", "maas", "ftp://maas/MAAS", "http://", "http://h:99999/", "http://[x/"]
)
def test_what_is_no_maas_is_refused(written: str) -> None:
    with pytest.raises(MaasFault):
        maas_base(written)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(MaasFault) as fault:
        maas_base("http://admin:hunter2@maas:5240/MAAS")

    assert "hunter2" not in str(fault.value)


def test_urls_that_mean_one_source() -> None:
    base = "http://proxy:8080/images/stable/"
    assert is_same_source(base, "http://PROXY:8080/images/stable")
    assert is_same_source(base, base + "streams/v1/index.sjson")
    assert is_same_source("http://a/x", "http://a:80/x/")
    assert not is_same_source(base, "https://proxy:8080/images/stable/")
    assert not is_same_source(base, "http://proxy:8080/images/candidate/")
    assert is_same_tree("http://images.maas.io/s/", "https://images.maas.io/s")
    assert not is_same_tree("http://images.maas.io/s/", "https://images.maas.io/t")


def test_a_shown_url_has_no_password() -> None:
    assert without_password("http://maas:hunter2@proxy:80/x/") == "http://maas:***@proxy:80/x/"
    assert without_password("http://proxy/x") == "http://proxy/x"
