"""Settings that share a program are trained together."""

import dataclasses
from types import SimpleNamespace
from unittest import mock

from experiments.config.recipe import Recipe, Setting
from experiments.harness import grid

FOLDER = SimpleNamespace(
    checkpoints=lambda _: None, events=lambda _: None, placement=lambda label, runs, measure: label
)


def settings(field, *values):
    return [
        Setting(f"{field} {value}", dataclasses.replace(Recipe(), **{field: value}), {field: value})
        for value in values
    ]


def varied(whole, missing, labels=None):
    """The traced numbers of each group of runs; `labels` receives names of their placements."""
    given = []

    def train_runs(recipe, algorithm, seeds, *rest, choose, **_):
        given.append(dict(rest[-1]))
        if labels is not None:
            labels.append(choose(len(seeds), None))
        yield [{"seed": seed, "history": {}} for seed in seeds]

    with mock.patch.object(grid, "train_runs", train_runs):
        left = [(setting, [0, 1]) for setting in missing]
        list(grid.train_settings(whole, left, "sffa", lambda _: None, FOLDER, None, 18))
    return given


def test_a_resumed_grid_compiles_the_programs_of_the_whole_grid():
    rates, widths = settings("learning_rate", 1e-3, 1e-2), settings("hidden", (8,), (6,))
    whole = rates + widths
    assert varied(whole, whole) == [
        {"learning_rate": [1e-3, 1e-3, 1e-2, 1e-2]},
        {},  # no other setting has its shapes
        {},
    ]
    assert varied(whole, rates[1:]) == [{"learning_rate": [1e-2, 1e-2]}]


def test_a_resumed_grid_does_not_measure_a_placement_again():
    whole, first, resumed = settings("learning_rate", 1e-3, 1e-2), [], []
    varied(whole, whole, first)
    varied(whole, whole[1:], resumed)
    assert first == resumed == ["sffa, learning_rate 0.001 and alike"]
