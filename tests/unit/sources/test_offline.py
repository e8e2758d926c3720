"""Whether origins may be asked: as configured, or as switched in any process, also after a restart."""

from pathlib import Path

import pytest

from proxy.sources.offline import OfflineSwitch


def test_a_switch_reaches_other_processes_and_lasts(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "switch"
    switch, other = (OfflineSwitch(path, is_configured=False) for _ in range(2))
    assert (switch.is_on, switch.is_switched, switch.is_configured) == (False, False, False)
    switch.turn(on=True)
    assert (other.is_on, other.is_switched, other.is_configured) == (True, True, False)
    switch.close()
    other.close()
    later = OfflineSwitch(path, is_configured=False)
    assert later.is_on
    later.turn(on=False)
    assert not later.is_on
    later.close()
    assert path.stat().st_size == 1


@pytest.mark.parametrize("on", [True, False])
def test_what_is_configured_no_switch_changes(tmp_path: Path, *, on: bool) -> None:
    switch = OfflineSwitch(tmp_path / "switch", is_configured=True)
    switch.turn(on=on)
    assert (switch.is_on, switch.is_switched, switch.is_configured) == (True, on, True)
    switch.close()
