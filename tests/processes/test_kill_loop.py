"""Whatever is killed, whenever: no wrong byte, no lost blob, no lock that stays.

`bench/kill_loop.py` goes on for 1,000 rounds.
"""

from pathlib import Path

from support.keys import SigningKey
from support.kill_loop import kill_loop

ROUNDS = 6


async def test_nothing_is_wrong_or_lost_after_kills_at_any_moment(tmp_path: Path, key: SigningKey) -> None:
    async with kill_loop(tmp_path, key, seed=2026) as loop:
        for _ in range(ROUNDS):
            await loop.round()

    assert loop.report.faults == []
    assert loop.report.kills.total() == ROUNDS
    assert loop.report.replies["complete"] > ROUNDS
