"""Bad arguments of `sffa_jax.continual`; see `arguments`."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from arguments import (
    LABELS,
    LOGITS,
    SPLIT,
    Case,
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

from sffa_jax import make_samples
from sffa_jax.continual import (
    buffer,
    class_groups,
    features,
    local_maps,
    model,
    runner,
    scenarios,
    simple_run,
    statistics,
    strategies,
    synthetic_negatives,
)
from sffa_jax.continual import problem as continual_problem
from sffa_jax.continual.strategies.class_subspaces import leading_axes
from sffa_jax.continual.strategies.gem import project
from sffa_jax.core import architectures, goodness

__all__ = ["users_settings"]


@functools.cache
def problem():
    """Four classes in two tasks."""
    scenario = scenarios.Scenario("class", 2, 2)
    pixels = np.zeros((12, 2, 2), np.uint8)
    return continual_problem.Problem(
        scenario,
        model.end_to_end(architectures.dense_layers([4]), scenario.num_labels),
        None,
        make_samples(pixels, SPLIT, num_classes=4, mean=0.0, std=1.0),
        scenarios.make_task_stream(SPLIT, SPLIT, range(4), scenario),
    )


def with_negatives(negatives):
    return problem()._replace(negatives=negatives).with_negatives(None, None, None)


STRATEGY_OPTIONS = {
    "ewc": {
        "strength": number(at_least=0),
        "mode": choice(("separate", "online")),
        "fisher_decay": number(at_least=0, at_most=1),
        "num_samples": whole(1),
    },
    "si": {"strength": number(at_least=0), "damping": number(above=0)},
    "mas": {
        "strength": number(at_least=0),
        "keep": number(at_least=0, at_most=1),
        "num_samples": whole(1),
    },
    "lwf": {"strength": number(at_least=0), "temperature": number(above=0)},
    "gem": {"patterns": whole(1), "strength": number(at_least=0)},
    "agem": {"slots": whole(1), "draw": whole(1)},
    "replay": {
        "slots": whole(1),
        "weight": number(above=0, none=True),
        "balance": choice(buffer.BALANCES),
    },
    "derpp": {"slots": whole(1), "alpha": number(at_least=0), "beta": number(above=0)},
    "gdumb": {"slots": whole(1)},
}

CASES = [
    Case(buffer.empty_buffer, {"slots": whole(1)}),
    Case(
        buffer.insert,
        {"num_classes": whole(1)},
        lambda: {
            "buffer": buffer.empty_buffer(2),
            "image": LABELS,
            "class_index": LABELS,
            "priority": LOGITS[:, 0],
        },
    ),
    Case(
        buffer.insert_task,
        {"balance": choice(buffer.BALANCES)},
        lambda: {
            "problem": problem(),
            "buffer": buffer.empty_buffer(2),
            "key": key(),
            "task": np.int32(0),
        },
    ),
    Case(
        buffer.draw_slots,
        {"size": whole(0)},
        lambda: {"key": key(), "buffer": buffer.empty_buffer(2)},
    ),
    Case(
        model.forward_only,
        {"coupling": choice(model.COUPLINGS)},
        lambda: {"network": small_network()},
    ),
    Case(
        model.end_to_end,
        {"num_labels": whole(2)},
        lambda: {"layers": architectures.dense_layers([4])},
    ),
    Case(
        runner.make_task_schedule,
        {"epochs": number(above=0), "batch_size": whole(1)},
        lambda: {"stream": problem().stream, "epochs": 1.0, "batch_size": 2},
    ),
    Case(
        scenarios.Scenario,
        {
            "kind": choice(scenarios.SCENARIOS),
            "num_tasks": whole(1),
            "classes_per_task": whole(2),
        },
        lambda: {"kind": "class", "num_tasks": 2, "classes_per_task": 2},
    ),
    Case(
        scenarios.class_order,
        {"num_classes": whole(2), "num_tasks": whole(1), "seed": whole(0)},
        lambda: {"num_classes": 4, "num_tasks": 2, "seed": 0},
    ),
    Case(
        scenarios.make_scenario,
        {"kind": choice(scenarios.SCENARIOS), "order": wholes(0), "num_tasks": whole(1)},
        lambda: {"kind": "class", "order": range(4), "num_tasks": 2},
    ),
    Case(
        scenarios.make_task_stream,
        {"order": wholes(0)},
        lambda: {
            "train_labels": SPLIT,
            "test_labels": SPLIT,
            "scenario": scenarios.Scenario("class", 2, 2),
        },
    ),
    *(Case(getattr(strategies, name), options) for name, options in STRATEGY_OPTIONS.items()),
    Case(
        project,
        {"strength": number(at_least=0)},
        lambda: {"gradient": jnp.ones(2), "references": jnp.ones((1, 2))},
    ),
    Case(
        buffer.draw_batch,
        {"size": whole(0)},
        lambda: {
            "problem": problem(),
            "buffer": buffer.empty_buffer(2),
            "key": key(),
            "task": jnp.int32(0),
        },
    ),
    Case(
        continual_problem.Problem,
        {"negatives": choice(continual_problem.NEGATIVES)},
        call=with_negatives,
    ),
    Case(
        simple_run.run,
        {
            **{"kind": choice(scenarios.SCENARIOS), "num_tasks": whole(1), "seeds": wholes(0)},
            **{"epochs": number(above=0), "batch_size": whole(1)},
            "negatives": choice(continual_problem.NEGATIVES),
        },
        lambda: {
            **{"network": small_network(), "strategy": strategies.none()},
            **{"train": problem().samples, "test": problem().samples, "num_tasks": 2},
        },
    ),
    Case(
        scenarios.split_tasks,
        {"kind": choice(scenarios.SCENARIOS), "num_tasks": whole(1), "seed": whole(0)},
        lambda: {"train": problem().samples, "test": problem().samples, "num_tasks": 2},
    ),
    *(
        Case(
            maker,
            {"shape": wholes(1)},
            lambda: {"key": key(), "x": np.ones((3, 16), np.float32), "shape": (4, 4)},
        )
        for maker in synthetic_negatives.SYNTHETIC_NEGATIVES.values()
    ),
    Case(
        class_groups.grouped_model,
        {"hidden": wholes(1), "num_classes": whole(1)},
        lambda: {"hidden": [8], "num_classes": 2, "logit": goodness.polar_ratio, "polar": True},
    ),
    Case(features.random_features, {"width": whole(1)}),
    Case(
        features.random_fourier_features,
        {"width": whole(1), "length_scale": number(above=0)},
        lambda: {"width": 2},
    ),
    Case(
        local_maps.box_means,
        {"size": whole(1), "parts": whole(1)},
        lambda: {"size": 4, "parts": 2},
    ),
    Case(
        local_maps.maps,
        {"shape": wholes(1), "threshold": number(at_least=0)}
        | dict.fromkeys(("width", "kernel", "stride", "grid"), whole(1)),
        lambda: {"shape": (4, 4), "width": 8, "kernel": 2, "stride": 1, "grid": 2},
    ),
    Case(
        features.principal_components,
        {"number": whole(1)},
        lambda: {"below": features.pixels()},
    ),
    Case(
        local_maps.spherical_kmeans,
        {"rounds": whole(1)},
        lambda: {"filters": np.eye(2), "patches": np.eye(2)},
    ),
    Case(
        strategies.activity_rehearsal,
        dict.fromkeys(("components", "draws"), whole(1))
        | {"rank": whole(1, none=True), "shared": number(at_least=0)},
    ),
    Case(
        statistics.empty_statistics,
        {"classes": whole(1), "features": whole(1), "scatter": choice(statistics.SCATTERS)},
        lambda: {"classes": 2, "features": 2},
    ),
    Case(
        statistics.discriminant,
        {"ridge": number(above=0, none=True)},
        lambda: {"statistics": statistics.empty_statistics(2, 2)},
    ),
    Case(
        leading_axes,
        {"axes": whole(1)},
        lambda: {"key": key(), "moments": np.ones((2, 4, 4), np.float32)},
    ),
    Case(strategies.class_subspaces, {"axes": whole(1)}, lambda: {"logit": goodness.polar_ratio}),
    Case(
        strategies.class_groups,
        {"shape": wholes(1), "slots": whole(0)},
        lambda: {"shape": (2, 2)},
    ),
    Case(strategies.usage_gating, {"strength": number(at_least=0)}),
    Case(strategies.slda, {"ridge": number(above=0, none=True)}),
    Case(strategies.qda, {"shared": number(at_least=0), "ridge": number(above=0)}),
    *(
        Case(
            function,
            {"shared": number(at_least=0), "ridge": number(above=0)},
            lambda: {
                "statistics": statistics.empty_statistics(2, 2, scatter="own"),
                "shared": 1.0,
                "ridge": 1.0,
            },
        )
        for function in (statistics.class_covariances, statistics.quadratic_discriminant)
    ),
]

EXEMPT = {
    "continual.strategy.check_hooks": "a check",
    "continual.model.Model": "made by the functions of its module",
    "continual.runner.ContinualConfig": "negatives are checked where they are used, in Problem",
    "continual.scenarios.split_tasks.order": "checked by make_scenario",
    "continual.simple_run.run.order": "checked by make_scenario",
    "continual.local_maps.whitening": "of constants of its module",
    "continual.mixtures.solve_gaussians": "of checked settings",
    "continual.mixtures.draw": "of checked settings",
    "continual.mixtures.kmeans": "of checked settings",
    "continual.readout.readout.scatter": "checked by empty_statistics",
    "continual.runner.TaskSchedule": "made by make_task_schedule",
    "continual.simple_run.ContinualRuns": "made by run",
    "continual.storage.StoredBytes": "made by stored_bytes",
}
"""Functions that are not in the table, and why."""


@pytest.mark.parametrize(("case", "argument"), pairs(CASES))
@settings(deadline=5000, max_examples=10)  # a hang
@given(drawn=st.data())
def test_a_bad_argument_is_rejected_by_name_and_value(case, argument, drawn):
    check_rejected(case, argument, drawn.draw(case.bad[argument]))


def test_every_public_function_is_in_the_table():
    assert missing(public_functions("continual"), CASES, EXEMPT) == []
