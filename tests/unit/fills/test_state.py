"""The life of a fill: which steps there are, and what its readers may count on in every state."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.fills.feed import HOLD_BACK_BYTES, FeedOptions
from proxy.fills.state import STEPS, IllegalStep, State, dripped_end, sendable_end, step

FEED = FeedOptions()
FINAL = {State.COMMITTED, State.FAILED, State.STOPPED}
states = st.sampled_from(State)
sizes = st.integers(0, 4 * HOLD_BACK_BYTES)


@st.composite
def lives(draw: st.DrawFn) -> list[State]:
    """Return the states of a fill from its beginning on, as far as the table lets it go."""
    life = [State.QUEUED]
    while following := sorted(STEPS[life[-1]], key=lambda state: state.value):
        life.append(draw(st.sampled_from(following)))
    return life


def test_every_state_can_be_reached_and_has_a_row() -> None:
    assert set(STEPS) == set(State)
    reached, todo = {State.QUEUED}, [State.QUEUED]
    while todo:
        new = STEPS[todo.pop()] - reached
        reached |= new
        todo.extend(new)
    assert reached == set(State)


@pytest.mark.parametrize("state", State)
def test_final_states_are_final_and_all_others_may_fail_or_be_stopped(state: State) -> None:
    assert state.is_final == (state in FINAL)
    assert {State.FAILED, State.STOPPED} <= STEPS[state] or state.is_final


@given(lives())
def test_no_life_is_proved_twice_committed_unproved_or_left_after_its_proof(life: list[State]) -> None:
    assert life[-1] in FINAL
    assert len(set(life)) == len(life)
    if State.COMMITTED in life:
        assert life[-2:] == [State.PROVED, State.COMMITTED]
    if State.PROVED in life:
        assert not {State.LEAVING, State.LEADING, State.FOLLOWING} & set(life[life.index(State.PROVED) :])
        assert State.STARTING in life
    if State.LEAVING in life:
        assert life[-1] in {State.STOPPED, State.FAILED}


@given(st.lists(states, min_size=2))
def test_what_the_table_does_not_know_is_refused(wanted: list[State]) -> None:
    for before, after in pairwise(wanted):
        if after in STEPS[before]:
            assert step(before, after) is after
        else:
            with pytest.raises(IllegalStep, match=f"{before.value} cannot become {after.value}"):
                step(before, after)


@pytest.mark.parametrize("state", State)
def test_who_may_be_left_is_neither_proved_nor_over_nor_left_already(state: State) -> None:
    assert state.is_unproved == (not state.is_final and not state.is_proved and state is not State.LEAVING)


@given(states, st.data(), sizes)
def test_the_tail_is_held_back_before_the_proof(state: State, data: st.DataObject, filled: int) -> None:
    start = data.draw(sizes)
    stop = start + data.draw(st.integers(1, 4 * HOLD_BACK_BYTES))
    position = data.draw(st.integers(start, stop - 1))

    flowing = sendable_end(state, position, start, stop, filled, FEED)
    dripped = dripped_end(position, start, stop, filled)

    assert position <= flowing <= stop
    assert position <= dripped <= stop
    if not state.is_proved:
        held_from = max(start, stop - HOLD_BACK_BYTES)
        assert flowing <= max(position, min(held_from, filled))
        assert dripped <= max(position, min(held_from, filled))


def test_what_is_proved_is_sent_whole_at_once_only_when_it_is_committed() -> None:
    large = 64 * 1024 * 1024
    assert sendable_end(State.COMMITTED, 10, 0, large, large, FEED) == large
    assert 10 < sendable_end(State.PROVED, 10, 0, large, large, FEED) < large
    assert sendable_end(State.PROVED, large - 10, 0, large, large, FEED) == large
