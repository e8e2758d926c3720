"""Whose turn it is to take a connection, by what the workers of a group have."""

import pytest

from proxy.processes.connection_shares import ConnectionShares, WorkerShare


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Crew:
    """Workers that have so many connections each."""

    def __init__(self, *connections: int) -> None:
        self.clock = Clock()
        self.shares = ConnectionShares(len(connections))
        self.workers = [self.shares.share(place, self.clock) for place in range(len(connections))]
        self.have = list(connections)
        for worker, count in zip(self.workers, connections, strict=True):
            worker.told(count)

    def take(self, place: int) -> None:
        """Let a worker take a connection."""
        self.clock.now_s += 0.001
        self.workers[place].took()
        self.have[place] += 1
        self.workers[place].told(self.have[place])

    def turns(self) -> list[int]:
        """List the places whose turn it is."""
        return [place for place, worker in enumerate(self.workers) if not worker.leaves_for_s()]


def test_whoever_has_fewest_takes_the_next() -> None:
    assert Crew(3, 1, 2).turns() == [1]


def test_of_equals_the_one_that_took_none_for_longest_takes_the_next() -> None:
    crew = Crew(0, 0)
    assert crew.turns() == [0, 1]
    for place in (1, 0, 1, 0):
        crew.take(place)
        crew.have[place] -= 1
        crew.workers[place].told(crew.have[place])
        assert crew.turns() == [1 - place]


@pytest.mark.parametrize(("workers", "connections"), [(2, 32), (4, 64), (3, 1000)])
def test_however_eager_one_is_all_get_about_as_many(workers: int, connections: int) -> None:
    """The first whose turn it is takes all that it may, and so on."""
    crew = Crew(*[0] * workers)
    while sum(crew.have) < connections:
        crew.take(crew.turns()[0])
    fair = connections / workers
    assert all(0.85 * fair <= have <= 1.15 * fair for have in crew.have), crew.have


def test_a_worker_that_takes_nothing_though_it_is_its_turn_is_hardly_waited_for() -> None:
    crew = Crew(5, 0)
    patience_s = crew.workers[0].leaves_for_s()
    crew.workers[0].passed_over()
    assert 0 < crew.workers[0].leaves_for_s() <= patience_s / 20
    crew.clock.now_s += 0.9
    assert crew.workers[0].leaves_for_s() < patience_s
    crew.clock.now_s += 0.2
    assert crew.workers[0].leaves_for_s() == patience_s


def test_a_worker_that_was_passed_over_is_waited_for_again_once_it_tells_anything() -> None:
    crew = Crew(5, 0)
    patience_s = crew.workers[0].leaves_for_s()
    crew.workers[0].passed_over()
    crew.take(1)
    assert crew.workers[0].leaves_for_s() == patience_s


def test_a_worker_in_the_place_of_one_that_was_passed_over_is_waited_for() -> None:
    crew = Crew(5, 0)
    patience_s = crew.workers[0].leaves_for_s()
    crew.workers[0].passed_over()
    crew.clock.now_s += 0.001
    crew.shares.vacate(1)
    crew.shares.share(1, crew.clock).told(0)
    assert crew.workers[0].leaves_for_s() == patience_s


def leave(worker: WorkerShare, _: ConnectionShares) -> None:
    worker.leave()


def die(_: WorkerShare, shares: ConnectionShares) -> None:
    shares.vacate(1)


@pytest.mark.parametrize("end", [leave, die])
def test_nobody_waits_for_a_worker_that_is_gone(end: object) -> None:
    crew = Crew(5, 0)
    assert callable(end)
    end(crew.workers[1], crew.shares)
    assert not crew.workers[0].leaves_for_s()
    crew.workers[1].told(0)
    assert crew.turns() == [1]
