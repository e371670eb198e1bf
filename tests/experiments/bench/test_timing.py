import pytest

from experiments.bench import timing
from experiments.bench.timing import Timed


@pytest.fixture
def clock(monkeypatch):
    """A clock that programs advance."""
    time = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: time[0])
    return time


def program(clock, name, seconds, order):
    def call():
        order.append(name)
        clock[0] += seconds

    return Timed({"name": name}, call)


def test_programs_run_in_turn_and_the_first_round_does_not_count(clock):
    order = []
    programs = [program(clock, "a", 20.0, order), program(clock, "b", 10.0, order)]
    records = timing.timed_records(programs, 2)
    assert order == ["a", "b"] * 3
    assert records == [
        {"name": "a", "seconds": [20.0, 20.0]},
        {"name": "b", "seconds": [10.0, 10.0]},
    ]


def test_short_rounds_are_repeated_until_they_are_long_enough(clock):
    # 1.5 s a round: 20 s have passed after 14 rounds, the first of which does not count.
    (seconds,) = timing.seconds_in_turn([program(clock, "a", 1.5, [])], 2)
    assert len(seconds) == 13
    (seconds,) = timing.seconds_in_turn([program(clock, "a", 0.001, [])], 2)
    assert len(seconds) == timing.MOST_ROUNDS * 2


def test_ratios_are_of_medians_and_of_each_round():
    assert timing.ratios("x", [2.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == {
        "x_ratio": 2.0,
        "x_ratios": [2.0, 2.0, 3.0],
    }
