"""The example configuration: it has every key, explains each, and changes nothing."""

import tomllib
from itertools import pairwise
from pathlib import Path

from support.config_files import ENVIRON, USER, load

from proxy.config.config import MAAS_MIRRORS
from proxy.config.load import load_config
from proxy.config.toml_reader import values
from proxy.mirror import Trust

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"


def test_the_example_changes_nothing() -> None:
    """Copied as it is, the example file means the defaults."""
    assert load_config(EXAMPLE, ENVIRON, uid=USER) == load_config(None, ENVIRON, uid=USER)


def test_the_example_shows_every_key() -> None:
    """Every field stands there as a key; together with its loading as the defaults, with its default."""
    shown = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    flat = {
        key for key, _ in values(load_config(None, ENVIRON, uid=USER)) if not key.startswith("mirror[")
    } - {"prefetch", "user"}
    written = {key for key, value in shown.items() if not isinstance(value, dict | list) or key == "listen"}
    written |= {f"{name}.{key}" for name, table in shown.items() if isinstance(table, dict) for key in table}
    assert written | {"data_dir"} == flat
    assert shown["mirror"][0].keys() == {key for key, _ in values(MAAS_MIRRORS[0])}
    assert "\n# data_dir = " in EXAMPLE.read_text(encoding="utf-8")


def test_every_line_of_the_example_is_explained() -> None:
    """A comment stands right above every key."""
    lines = EXAMPLE.read_text(encoding="utf-8").split('name = "maas-candidate"')[0].splitlines()
    bare = [line for above, line in pairwise(lines) if " = " in line and "#" not in (line[0], above[:1])]
    assert bare == []


def test_the_examples_further_mirrors_work(tmp_path: Path) -> None:
    """The commented mirrors are right when their comment signs go."""
    commented = EXAMPLE.read_text(encoding="utf-8").split("# Further examples")[1]
    lines = commented.replace("/etc/sstream-proxy/private", f"{tmp_path}/private").splitlines()[1:]
    toml = "\n".join(
        line.removeprefix("# ") for line in lines if line.startswith(("# [[", "#   ", "# ]")) or " = " in line
    )
    (tmp_path / "private-keyring.gpg").touch()
    config = load(tmp_path, toml)
    names = ["lxc", "ubuntu-releases", "maas-with-failover", "maas-from-disk", "private"]
    assert [m.name for m in config.mirrors] == names
    assert config.mirrors[0].trust is Trust.TLS
    assert len(config.mirrors[2].origins) == 2
