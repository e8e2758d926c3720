"""`dns`, as a person types it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.processes.own_addresses import reached_at


def dns(*arguments: str, config: str = "", folder: Path | None = None) -> Result:
    given = []
    if folder is not None:
        path = folder / "config.toml"
        path.write_text(config)
        given = ["--config", str(path)]
    return CliRunner().invoke(main, ["dns", *given, *arguments])


OWN = '[[mirror]]\nname = "one"\nmount = "/one/"\norigins = ["https://one.example/", "http://two.example/"]\n'


@pytest.mark.parametrize("form", ["dnsmasq", "unbound", "bind", "bind-zone", "maas", "hosts"])
def test_a_form_is_printed_alone(form: str) -> None:
    result = dns("--format", form, "--address", "192.0.2.7", "--address", "2001:DB8::7")
    assert result.exit_code == 0
    assert "192.0.2.7" in result.output
    assert "2001:db8::7" in result.output
    assert "#" not in result.output


def test_without_one_all_are_explained(tmp_path: Path) -> None:
    result = dns("--address", "192.0.2.7", config=OWN, folder=tmp_path)
    assert result.exit_code == 0
    for part in ("dnsmasq", "unbound", "BIND", "MAAS's own DNS", "/etc/hosts", "openssl", "[upstream]",
                 "host-record=two.example,192.0.2.7", 'listen = ["0.0.0.0:80", "0.0.0.0:8080"]'):  # fmt: skip
        assert part in result.output, part


def test_it_says_how_the_proxy_itself_is_not_led_here(tmp_path: Path) -> None:
    result = dns("--address", "192.0.2.7", config=OWN, folder=tmp_path)
    assert "resolver = [" in result.output
    assert '"two.example" = ["ADDRESS"]' in result.output
    named = dns(
        "--address", "192.0.2.7", config=OWN + '[upstream]\nresolver = ["9.9.9.9"]\n', folder=tmp_path
    )
    assert "The proxy itself asks 9.9.9.9" in named.output
    assert '"ADDRESS"' not in named.output


def test_it_says_to_listen_where_the_addresses_lead(tmp_path: Path) -> None:
    """An address of IPv6 that no socket has makes each client wait, or fail."""
    config = 'listen = ["[::]:8080"]\n' + OWN.replace("two.example", "two.example:8000")
    six = dns("--address", "2001:db8::7", config=config, folder=tmp_path).output
    both = dns("--address", "2001:db8::7", "--address", "192.0.2.7", config=config, folder=tmp_path).output
    assert 'listen = ["[::]:80", "[::]:8080"]' in six
    assert 'listen = ["http://[::]:80", "[::]:443"]' in six
    assert 'listen = ["0.0.0.0:80", "[::]:80", "[::]:8080"]' in both
    assert 'listen = ["http://0.0.0.0:80", "http://[::]:80", "0.0.0.0:443", "[::]:443"]' in both
    assert "with port 8000 ask at it" in six


def test_what_is_there_already_is_not_asked_for(tmp_path: Path) -> None:
    listening = 'listen = ["http://0.0.0.0:80", "0.0.0.0:443"]\n[tls]\ncertificate = "c"\nkey = "k"\n'
    for name in "ck":
        (tmp_path / name).touch()
    result = dns("--address", "192.0.2.7", config=listening + OWN, folder=tmp_path)
    assert result.exit_code == 0
    assert "where" not in result.output.split("# dnsmasq")[0]
    assert "[tls]" not in result.output


def test_names_can_be_chosen_among_those_that_mirrors_answer_to(tmp_path: Path) -> None:
    result = dns("Two.example.", "--format", "hosts", "--address", "192.0.2.7", config=OWN, folder=tmp_path)
    assert result.output == "192.0.2.7 two.example\n"
    unknown = dns("tow.example", "--address", "192.0.2.7", config=OWN, folder=tmp_path)
    assert (unknown.exit_code, "two.example" in unknown.output) == (2, True)
    both = dns("--format", "bind-zone", "--address", "192.0.2.7", config=OWN, folder=tmp_path)
    assert (both.exit_code, "a zone is for one name" in both.output) == (2, True)


def test_without_a_name_or_an_address_it_says_what_is_missing(tmp_path: Path) -> None:
    none = dns("--address", "192.0.2.7", config=OWN + "answer_to = []\n", folder=tmp_path)
    assert (none.exit_code, "no mirror answers to a name" in none.output) == (2, True)
    wrong = dns("--address", "cache.example")
    assert (wrong.exit_code, "is no address" in wrong.output) == (2, True)
    alone = dns(config='listen = ["127.0.0.1:80"]\n' + OWN, folder=tmp_path)
    assert (alone.exit_code, "--address" in alone.output) == (2, True)


def test_addresses_are_those_that_are_listened_at() -> None:
    assert reached_at([("192.0.2.7", 80), ("2001:db8::7", 80), ("127.0.0.1", 80), ("192.0.2.7", 443)]) == [
        "192.0.2.7",
        "2001:db8::7",
    ]
    assert reached_at([("localhost", 80), ("::1", 80)]) == []
    assert not any(one.startswith("127.") for one in reached_at([("0.0.0.0", 80), ("::", 80)]))
