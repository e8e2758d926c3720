"""The limits of one process are opened by what is configured, and closed together."""

from pathlib import Path

from support.descriptors import open_below

from proxy.sources.limits.opened import OpenLimits


def test_what_was_opened_is_closed_in_the_end(tmp_path: Path) -> None:
    limits = OpenLimits(tmp_path, 2, lambda: 1.0)
    limits.limit_all(1000)
    assert open_below(tmp_path) == [str(tmp_path / ".limit")]
    limits.close()
    assert open_below(tmp_path) == []


def test_without_a_figure_nothing_is_opened(tmp_path: Path) -> None:
    limits = OpenLimits(tmp_path, 2, lambda: 1.0)
    limits.limit_all(None)
    assert list(tmp_path.iterdir()) == []
    limits.close()
