"""Bad arguments of `sffa_jax.scale`; see `arguments`."""

import jax
import pytest
from arguments import (
    ADAM,
    LABELS,
    Case,
    Records,
    check_rejected,
    choice,
    key,
    missing,
    number,
    pairs,
    public_functions,
    small_network,
    users_settings,
    whole,
    wholes,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sffa_jax import Schedule
from sffa_jax.scale import (
    checkpoints,
    mesh,
    pipeline,
    placement,
    processes,
    resumable,
    streaming,
    sweep,
)

__all__ = ["users_settings"]

CASES = [
    Case(checkpoints.Checkpoints, {"keep": whole(1)}, lambda: {"folder": "unused"}),
    Case(
        processes.connect,
        {
            # A good one would connect.
            "coordinator": st.text().filter(lambda text: ":" not in text and text != "auto"),
            "num_processes": whole(1),
            "process_id": whole(0),
        },
        lambda: {"coordinator": "localhost:1", "num_processes": 2, "process_id": 0},
    ),
    Case(
        resumable.run_resumable,
        {"num_steps": whole(0), "every_seconds": number(at_least=0)},
        lambda: {"init": int, "step": lambda number, carry: carry, "num_steps": 0},
    ),
    Case(mesh.make_mesh, {"runs": whole(1), "devices_per_run": whole(1)}, lambda: {"runs": 1}),
    Case(
        pipeline.pipelined_epoch,
        {"negatives": choice(pipeline.STREAMED)},
        lambda: {"network": small_network(), "optimizer": ADAM, "schedule": Schedule(1, 1)},
    ),
    Case(
        streaming.make_streamed_samples,
        {"num_classes": whole(1), "mean": number(), "std": number(at_least=0)},
        lambda: {
            "records": Records(),
            "indices": LABELS,
            "num_classes": 4,
            "mean": 0.0,
            "std": 1.0,
        },
    ),
    Case(
        streaming.advance,
        {"num_steps": whole(0, none=True)},
        lambda: dict.fromkeys(("learner", "schedule", "position", "samples")),
    ),
    Case(
        streaming.fit_streamed,
        {"select": choice(("best", "last"), none=True)},
        lambda: dict.fromkeys(("learner", "schedule", "key", "training")),
    ),
    Case(
        placement.Placement,
        {"mode": choice(placement.MODES), "devices_per_run": whole(1)},
        lambda: {"mode": "devices"},
    ),
    Case(
        sweep.compile_within_memory,
        {"budget": number(above=0, none=True)},
        lambda: {"function": abs, "placement": placement.Placement("map"), "runs": LABELS},
    ),
    Case(
        sweep.fastest,
        {
            "min_seconds": number(at_least=0),
            "calls": number(above=0, none=True),
            "budget": number(above=0, none=True),
        },
        lambda: {"function": abs, "runs": LABELS},
    ),
    Case(sweep.seed_keys, {"seeds": wholes(0)}, lambda: {"seeds": [1]}),
    Case(
        sweep.sweep,
        {"parallel": choice(["auto", *placement.MODES]), "budget": number(above=0, none=True)},
        lambda: {"run": lambda key, _: key, "keys": jax.random.split(key(), 2), "parallel": "map"},
    ),
]

EXEMPT = {
    "scale.checkpoints.Checkpoint": "a result",
    "scale.limits.Memory": "a result",
    "scale.placement.take_runs": "chunks of runs that were counted",
    "scale.processes.all_reduce_max": "numbers of the library, between processes",
    "scale.resumable.Interrupted": "raised with the number of a signal",
    "scale.streaming.check_shared": "a check",
    "scale.streaming.StreamedSamples": "made by make_streamed_samples",
    "scale.sweep.Choice": "a result",
    "scale.sweep.CompiledSweep": "a result",
}
"""Functions that are not in the table, and why."""


@pytest.mark.parametrize(("case", "argument"), pairs(CASES))
@settings(deadline=5000, max_examples=10)  # a hang
@given(drawn=st.data())
def test_a_bad_argument_is_rejected_by_name_and_value(case, argument, drawn):
    check_rejected(case, argument, drawn.draw(case.bad[argument]))


def test_every_public_function_is_in_the_table():
    assert missing(public_functions("scale"), CASES, EXEMPT) == []
