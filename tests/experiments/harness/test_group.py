"""Which runs a checkpoint belongs to."""

from types import SimpleNamespace

import pytest

from experiments.harness.group import Group, saved_group
from sffa_jax.scale.placement import Placement

RUNS = Group([0, 1, 2], {"eps": [1.0, 2.0, 3.0]})


def info_of(group, placement):
    return group.info() | {"parallel": placement.mode, "padded": placement.padded(len(group.seeds))}


def found(info, placement=None):
    checkpoints = SimpleNamespace(info=lambda: info, folder="runs/x/checkpoints/sffa")
    return saved_group(info_of, RUNS, placement, checkpoints, "SFFA")


@pytest.mark.parametrize("placement", [None, Placement("map"), Placement("vmap")])
def test_the_first_runs_of_a_group_resume_with_the_placement_of_their_checkpoint(placement, capsys):
    saved = info_of(RUNS[:2], Placement("map"))
    assert found(saved, placement) == (Placement("map"), 2)
    assert found(None, placement) is None
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    "changes",
    [
        {"padded": 4},  # two devices, each with two runs
        {"seeds": [1, 2], "varied": {"eps": [2.0, 3.0]}},
        {"varied": {}},
        {"parallel": "threads"},
        {"seeds": []},
    ],
)
def test_a_checkpoint_that_does_not_fit_is_named(changes, capsys):
    assert found(info_of(RUNS, Placement("map")) | changes) is None
    printed = capsys.readouterr().out
    assert "SFFA: the checkpoint in runs/x/checkpoints/sffa is of another number" in printed
