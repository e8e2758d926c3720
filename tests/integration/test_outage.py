"""An outage that is longer than a client's patience, in the middle of an item."""

from pathlib import Path

import pytest
from support.keys import SigningKey
from support.outage import DEAD_S, Death, survive

SCALE = 0.1


@pytest.mark.parametrize("death", ["down", "silent"])
async def test_a_client_with_a_third_of_the_outages_patience_completes(
    death: Death, tmp_path: Path, key: SigningKey
) -> None:
    """Three seconds for one here; bench/outage.py does thirty for ten."""
    outage = await survive(death, SCALE, tmp_path, key)

    assert outage.is_right
    assert outage.lasted_s >= DEAD_S * SCALE
