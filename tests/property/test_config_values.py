"""Times, sizes and whole files: what is written is what is read, and nothing crashes."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config.addresses import base_url_problem, host_problem, mount_problem, split_address, url_problem
from proxy.config.config import Config
from proxy.config.load import load_config
from proxy.config.quantities import parse_duration, parse_rate, parse_size
from proxy.config.toml_reader import Faults, read
from proxy.config.wording import masked, quoted

SECONDS = {
    "d": Fraction(86400),
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
}
BYTES = {"": 1, "B": 1}
BYTES |= {f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", 1)}
BYTES |= {f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", 1)} | {"kB": 1000}
TEN_YEARS_S = 3650 * 86400

JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NEARLY = st.text(alphabet="0123456789. -+eE_:/@[]?#%dhmsKMGTiBk\n٣²", max_size=30)
SAFE = st.characters(categories=("Ll", "Lu", "Nd"), max_codepoint=127)


def written_duration(milliseconds: int, space: str) -> str:
    """Write a time with the largest units that fit."""
    rest, parts = Fraction(milliseconds, 1000), []
    for unit, seconds in SECONDS.items():
        amount, rest = divmod(rest, seconds)
        if amount:
            parts.append(f"{amount}{unit}")
    return space.join(parts) or "0s"


@given(st.integers(0, TEN_YEARS_S * 1000), st.sampled_from(["", " "]))
def test_durations_are_read_as_written(milliseconds: int, space: str) -> None:
    """Any sum of units means its sum."""
    assert parse_duration(written_duration(milliseconds, space)) == milliseconds / 1000


@given(st.integers(0, TEN_YEARS_S) | st.floats(0, TEN_YEARS_S))
def test_bare_numbers_are_seconds(seconds: float) -> None:
    """No unit is seconds."""
    assert parse_duration(seconds) == seconds


@given(st.integers(0, 999), st.sampled_from(sorted(BYTES)), st.sampled_from(["", " "]))
def test_sizes_are_read_as_written(amount: int, unit: str, space: str) -> None:
    """Every unit means its number of bytes."""
    assert parse_size(f"{amount}{space}{unit}") == amount * BYTES[unit]


@given(st.integers(0, 999), st.sampled_from("kMG"), st.sampled_from(["bit", "bit/s", "bps"]))
def test_bits_a_second_are_eighths_of_bytes(amount: int, unit: str, per_second: str) -> None:
    """As providers write them."""
    assert parse_rate(f"{amount} {unit}{per_second}") == amount * BYTES[f"{unit}B"] // 8


@given(st.integers(0, 999), st.sampled_from(sorted(BYTES)), st.sampled_from(["", "/s"]))
def test_rates_are_read_as_sizes_are(amount: int, unit: str, per_second: str) -> None:
    """That it is a second may be said or left out."""
    assert parse_rate(f"{amount} {unit}{per_second}") == amount * BYTES[unit]


@given(st.integers(0, 1024**6 - 1))
def test_bare_whole_numbers_are_bytes(size: int) -> None:
    """No unit is bytes, quoted or not."""
    assert parse_size(size) == parse_size(str(size)) == size


@given(JSON_LIKE | NEARLY)
def test_anything_is_a_value_or_a_fault(raw: object) -> None:
    """What cannot be read is told on one line, and nothing senseless is read."""
    for parse, most in ((parse_duration, TEN_YEARS_S), (parse_size, 1024**6), (parse_rate, 1024**6)):
        try:
            value = parse(raw)
        except ValueError as error:
            assert str(error).startswith("write a ")  # noqa: PT017
            assert str(error).isprintable()  # noqa: PT017
        else:
            assert 0 <= value <= most


@given(NEARLY | st.text())
def test_any_text_can_be_judged_as_an_address(text: str) -> None:
    """Every judge has an answer for every text."""
    for judge in (mount_problem, host_problem, url_problem, base_url_problem):
        problem = judge(text)
        assert problem is None or problem.isprintable()
    try:
        host, port = split_address(text)
    except ValueError as error:
        assert "write HOST:PORT" in str(error)  # noqa: PT017
    else:
        assert host
        assert 0 <= port <= 65535


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["listen", "workers", "tls", "cache", "mirror", "log"]) | st.text(), JSON_LIKE
    )
)
def test_any_table_is_read_or_a_fault(table: dict[str, object]) -> None:
    """The reader survives any shape of file."""
    faults = Faults()
    config = read(Config, {"data_dir": "/data"} | table, faults)
    assert isinstance(config, Config)
    assert all(fault.key.isprintable() and fault.problem.isprintable() for fault in faults.found())


@given(
    st.sampled_from(["", "http://", "https://", "ftp://", "//", "://"]), st.text(SAFE, min_size=1), st.text()
)
def test_no_text_shows_what_precedes_its_last_at(scheme: str, host: str, secret: str) -> None:
    """Masking needs no well-formed URL."""
    shown = masked(f"{scheme}user:{secret}@{host}")
    assert shown.endswith(f"***@{host}")
    assert "user" not in shown
    assert quoted(f"{scheme}user:{secret}@{host}").isprintable()


@settings(deadline=None)
@given(st.text(max_size=20), NEARLY, st.sampled_from(["", "http://", "https://", "ftp://"]))
def test_secrets_stay_out_of_the_errors_of_a_whole_configuration(
    secret: str, noise: str, scheme: str
) -> None:
    """However the URLs around a password are broken, it is not shown."""
    url = f"{scheme}user:hunter{secret}@host{noise.replace('@', '')}"
    overrides = {
        "listen": (url,),
        "workers": url,
        "upstream": {"parent_proxy": f"{url} "},
        "mirror": [
            {"name": url, "mount": url, "origins": [f"{url}?"], "redirect_hosts": [url], "keyring": url}
        ],
    }
    with pytest.raises(Exception, match="write") as caught:
        load_config(None, {}, overrides=overrides)
    assert type(caught.value).__name__ == "ConfigError"
    assert "hunter" not in str(caught.value)
