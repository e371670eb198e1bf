"""Every number and name that a public function takes: a bad one is refused by its name and value.

By the library's own checks, that is, before JAX or NumPy fail on it: the innermost frame of the
error is the library's. The table below holds every public function; one that is not in it fails.
"""

import functools
import importlib
import inspect
import pkgutil
import traceback
import types
import typing
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import struct
from hypothesis import given, settings
from hypothesis import strategies as st

import sffa_jax
from experiments.config import recipe
from sffa_jax import checks, data
from sffa_jax.continual import (
    buffer,
    class_groups,
    features,
    model,
    quadratic_program,
    runner,
    scenarios,
    statistics,
    strategies,
    strategy,
    synthetic_negatives,
)
from sffa_jax.continual import problem as continual_problem
from sffa_jax.continual.strategies.class_subspaces import leading_axes
from sffa_jax.continual.strategies.gem import project
from sffa_jax.core import (
    class_units,
    goodness,
    layer,
    losses,
    negatives,
    network,
    overlays,
    rules,
    winners,
)
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
from sffa_jax.training import adversarial, augment, backprop, greedy, local, train

PACKAGE = Path(sffa_jax.__file__).parent


@pytest.fixture(scope="module", autouse=True)
def as_users_have_it():
    """No type checker in front of the library's checks, no frame of JAX hidden."""
    before = jaxtyping.config.jaxtyping_disable, jax.config.jax_traceback_filtering
    jaxtyping.config.update("jaxtyping_disable", True)
    jax.config.update("jax_traceback_filtering", "off")
    yield
    jaxtyping.config.update("jaxtyping_disable", before[0])
    jax.config.update("jax_traceback_filtering", before[1])


# Bad values.

NO_NUMBER = [
    "1",
    "",
    "nan",
    b"1",
    True,
    False,
    np.True_,
    1j,
    [],
    (),
    {},
    (1,),
    np.ones(2),
    object(),
]


def number(above=None, at_least=None, at_most=None, none=False):
    """What is not a finite number in the range; `none`: whether None is allowed."""
    bad = st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e39, -1e300, 10**400])
    bad |= st.sampled_from(NO_NUMBER + [None] * (not none))
    lowest = above if at_least is None else at_least
    if lowest is not None:
        bad |= st.floats(max_value=lowest, exclude_max=above is None, allow_infinity=False)
        bad |= st.integers(max_value=lowest - (above is None))
        bad |= st.sampled_from([np.float32(lowest - 1), np.array(lowest - 2)])
    if at_most is not None:
        bad |= st.floats(min_value=at_most, exclude_min=True)
    return bad


def whole(at_least=0, none=False, huge=True):
    """What is not a whole number, at least so large and (`huge`) within 32 bits."""
    bad = st.floats() | st.sampled_from(
        [*NO_NUMBER, np.float32(2), np.array([1, 2])] + [None] * (not none)
    )
    if at_least is not None:
        bad |= st.integers(max_value=at_least - 1)
    return bad | st.integers(min_value=2**31) if huge else bad


def choice(names, none=False):
    """What is none of the names."""
    no_name = [3, 0.5, float("nan"), True, b"bce", [], (), {}, ["all"], {"all"}, np.ones(2)]
    misspelled = st.sampled_from(sorted(names)).flatmap(
        lambda name: st.sampled_from([name.swapcase(), f" {name}", name[:-1], f"{name}s"])
    )
    bad = misspelled | st.text().filter(lambda text: text not in names)
    return bad | st.sampled_from(no_name + [None] * (not none))


def wholes(at_least=0, huge=True):
    """What is not a sequence of such whole numbers."""
    no_sequence = st.sampled_from([5, 2.5, float("nan"), None, True, "12", b"12", object(), ()])
    among = st.sampled_from([1, 2, 3])
    bad = st.tuples(st.lists(among), whole(at_least, huge=huge), st.lists(among))
    return no_sequence | bad.map(lambda parts: (*parts[0], parts[1], *parts[2]))


# Good arguments.

H, TARGETS = np.ones((3, 2, 4), np.float32), np.eye(2, dtype=bool)[[0, 1, 0]]
LOG_ODDS, LABELS, SPLIT = H[..., 0], np.arange(3), np.arange(12) % 4
IMAGES = np.zeros((3, 4, 4), np.uint8)
ADAM = optax.adam(1e-3)


@functools.cache
def key():
    return jax.random.key(0)


@functools.cache
def small_network():
    return network.Network(
        layer.dense_layers([4, 4]),
        rules.sffa(),
        lambda key: overlays.appended_gaussian(key, 4),
        num_classes=4,
    )


@functools.cache
def problem():
    """Four classes in two tasks."""
    scenario = scenarios.Scenario("class", 2, 2)
    pixels = np.zeros((12, 2, 2), np.uint8)
    return continual_problem.Problem(
        scenario,
        model.end_to_end(layer.dense_layers([4]), scenario.num_labels),
        None,
        train.make_samples(pixels, SPLIT, num_classes=4, mean=0.0, std=1.0),
        scenarios.make_task_stream(SPLIT, SPLIT, range(4), scenario),
    )


class Records:
    """Of a set on disk."""

    image_shape, labels = (4, 4), LABELS


def built(**choices):
    """All that is made of a recipe."""
    made = recipe.Recipe(**choices)
    made.check()
    for algorithm in recipe.ALGORITHMS:
        made.learner(algorithm, (4, 4), 4, 1000)
    made.schedule((4, 4))


def reading_ahead(**options):
    return data.batches(None, np.zeros((1, 2), int), reading=data.Reading(**options))


def with_negatives(negatives):
    return problem()._replace(negatives=negatives).with_negatives(None, None, None)


class Case(typing.NamedTuple):
    """A function, what else it is called with, and the bad values of each of its arguments."""

    function: Callable
    bad: dict[str, st.SearchStrategy]
    good: Callable[[], dict] = dict
    call: Callable | None = None


SCALED = {"logit_scale": number(above=0), "measure": choice(goodness.MEASURES)}
RULE = SCALED | {
    "loss": choice(losses.LOSSES),
    "margin": number(at_least=0),
    "label_smoothing": number(at_least=0, at_most=1),
    "activity_rate": number(above=0, none=True),
    "prediction": choice(rules.SCORES),
    "normalize": choice(rules.NORMALIZE),
    "clip": number(above=0, at_most=0.4, none=True),
}
NEGATIVES = choice(negatives.NEGATIVES)
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
    "replay": {"slots": whole(1), "weight": number(above=0, none=True)},
    "derpp": {"slots": whole(1), "alpha": number(at_least=0), "beta": number(above=0)},
    "gdumb": {"slots": whole(1)},
}

CASES = [
    Case(
        adversarial.perturb,
        {"size": number(at_least=0)},
        lambda: {"losses": lambda x: jnp.sum(x, axis=-1), "x": jnp.ones((2, 3))},
    ),
    Case(augment.input_dropout, {"rate": number(at_least=0, at_most=0.99)}),
    Case(
        augment.shift,
        {
            "shape": wholes(1),
            "pixels": whole(0),
            "background": number().filter(lambda value: np.ndim(value) == 0),
        },
        lambda: {"shape": (4, 4), "pixels": 1},
    ),
    Case(augment.flip, {"shape": wholes(1)}),
    Case(
        backprop.backprop_learner,
        {
            "num_classes": whole(2),
            "label_smoothing": number(at_least=0, at_most=1),
            "adversarial": number(above=0, none=True),
        },
        lambda: {"layers": layer.dense_layers([4]), "num_classes": 3, "optimizer": ADAM},
    ),
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
    Case(buffer.empty_buffer, {"slots": whole(1)}),
    Case(
        buffer.insert,
        {"num_classes": whole(1)},
        lambda: {
            "buffer": buffer.empty_buffer(2),
            "image": LABELS,
            "class_index": LABELS,
            "priority": LOG_ODDS[:, 0],
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
        lambda: {"layers": layer.dense_layers([4])},
    ),
    Case(
        quadratic_program.nonnegative_minimum,
        {"ridge": number(at_least=0)},
        lambda: {"curvature": jnp.eye(2), "slope": jnp.ones(2)},
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
        continual_problem.scan_task,
        {"chunk": whole(1)},
        lambda: {
            "problem": problem(),
            "task": jnp.int32(0),
            "start": 0.0,
            "add": lambda total, batch: total + jnp.sum(batch.weights),
        },
    ),
    Case(
        scenarios.split_tasks,
        {"kind": choice(scenarios.SCENARIOS), "num_tasks": whole(1), "seed": whole(0)},
        lambda: {"training": problem().samples, "test": problem().samples, "num_tasks": 2},
    ),
    Case(strategy.stored_floats, {"image_size": whole(1)}, lambda: {"state": ()}),
    *(
        Case(function, {"name": choice(data.NAMES)})
        for function in (data.check_name, data.load, data.open_on_disk)
    ),
    Case(
        data.resize,
        {"height": whole(1, huge=False), "width": whole(1, huge=False)},
        lambda: {"images": IMAGES, "height": 2, "width": 2},
    ),
    Case(
        data.stratified_split,
        {"fraction": number(above=0, at_most=1), "seed": whole(0, huge=False)},
        lambda: {"labels": SPLIT, "fraction": 0.5, "seed": 0},
    ),
    Case(data.class_subset, {"classes": wholes(huge=False)}, lambda: {"labels": SPLIT}),
    Case(
        data.task_splits,
        {
            "tasks": st.sampled_from([5, None, "12"])
            | wholes(huge=False).filter(lambda found: found != ()).map(lambda found: [[0], found])
        },
        lambda: {"labels": SPLIT},
    ),
    Case(
        data.draw_tasks,
        {"num_classes": whole(1, huge=False), "num_tasks": whole(1), "seed": whole(0, huge=False)},
        lambda: {"num_classes": 4, "num_tasks": 2, "seed": 0},
    ),
    Case(
        data.Reading,
        {"threads": whole(0, huge=False), "buffer": whole(1, huge=False)},
        call=reading_ahead,
    ),
    Case(
        data.batches,
        {
            "start": whole(0, huge=False),
            "process": whole(None, huge=False),
            "num_processes": whole(1, huge=False),
        },
        lambda: {"records": Records(), "order": np.zeros((1, 2), int)},
    ),
    Case(
        resumable.run_resumable,
        {
            "num_steps": whole(0),
            "every_seconds": number(at_least=0),
            "every_steps": whole(1, none=True),
        },
        lambda: {"init": int, "step": lambda number, carry: carry, "num_steps": 0},
    ),
    Case(goodness.energy, SCALED | {"threshold": number()}, lambda: {"h": H}),
    Case(goodness.polar_ratio, SCALED | {"eps": number(above=0)}, lambda: {"h": H}),
    Case(goodness.polar_difference, SCALED | {"threshold": number()}, lambda: {"h": H}),
    Case(
        greedy.greedy_learner,
        {"steps_per_layer": whole(1), "negatives": NEGATIVES},
        lambda: {"network": small_network(), "optimizer": ADAM, "steps_per_layer": 1},
    ),
    Case(
        layer.Layer,
        {
            "winners": whole(1, none=True),
            "pool": choice(layer.POOLS, none=True),
            "competition": choice(layer.COMPETITIONS),
        },
        lambda: {"body": nn.Conv(4, (3, 3)), "grid": layer.Grid(4, 4, 1)},
    ),
    Case(
        layer.Grid,
        dict.fromkeys(("height", "width", "channels"), whole(1)),
        lambda: {"height": 4, "width": 4, "channels": 1},
    ),
    Case(
        layer.conv_layers,
        {
            "shape": wholes(1),
            "channels": wholes(1),
            "kernel": whole(1),
            "stride": whole(1),
            "padding": choice(layer.PADDINGS),
            "pool": choice(layer.POOLS, none=True),
            "activation": choice(layer.ACTIVATIONS),
            "winners": whole(1, none=True),
            "competition": choice(layer.COMPETITIONS),
            "initializer": choice(layer.INITIALIZERS),
            "precision": choice(layer.DTYPES),
        },
        lambda: {"shape": (8, 8), "channels": (4,)},
    ),
    Case(
        layer.dense_layers,
        {
            "hidden": wholes(1),
            "activation": choice(layer.ACTIVATIONS),
            "winners": whole(1, none=True),
            "initializer": choice(layer.INITIALIZERS),
            "precision": choice(layer.DTYPES),
        },
        lambda: {"hidden": (4,)},
    ),
    Case(
        local.local_learner,
        {"negatives": NEGATIVES, "adversarial": number(above=0, none=True)},
        lambda: {"network": small_network(), "optimizer": ADAM},
    ),
    Case(
        losses.binary_cross_entropy,
        {"margin": number(at_least=0)},
        lambda: {"log_odds": LOG_ODDS, "targets": TARGETS},
    ),
    Case(
        losses.softmax_cross_entropy,
        {"label_smoothing": number(at_least=0, at_most=1)},
        lambda: {"log_odds": LOG_ODDS, "targets": TARGETS},
    ),
    Case(
        losses.activity_factor,
        {"rate": number(above=0)},
        lambda: {"h": H, "targets": TARGETS},
    ),
    Case(mesh.make_mesh, {"runs": whole(1), "devices_per_run": whole(1)}, lambda: {"runs": 1}),
    *(
        Case(
            function,
            {"num_classes": whole(2)},
            lambda: {"key": key(), "labels": LABELS, "scores": lambda: H[:, 0]},
        )
        for function in (negatives.uniform, negatives.hard)
    ),
    Case(
        negatives.targets,
        {"num_classes": whole(2)},
        lambda: {"candidates": None, "labels": LABELS},
    ),
    Case(
        network.Network,
        {"num_classes": whole(2), "first_scored": whole(0)},
        lambda: {
            "layers": layer.dense_layers([4]),
            "rule": rules.sffa(),
            "overlay": overlays.Overlay,
            "num_classes": 4,
        },
    ),
    Case(
        overlays.corner_one_hot,
        {"d_in": whole(1), "num_classes": whole(2), "value": number()},
        lambda: {"d_in": 16, "num_classes": 4},
    ),
    Case(
        overlays.appended_pattern,
        {
            "num_classes": whole(2),
            "size": whole(1),
            "density": number(above=0, at_most=1),
            "value": number(),
        },
        lambda: {"key": key(), "num_classes": 4},
    ),
    Case(
        overlays.appended_gaussian,
        {"num_classes": whole(2), "size": whole(1), "value": number()},
        lambda: {"key": key(), "num_classes": 4},
    ),
    Case(
        overlays.image_wave,
        {
            "shape": wholes(1),
            "num_classes": whole(2),
            "lowest": number(above=0),
            "highest": number(at_least=0),
        },
        lambda: {"key": key(), "shape": (4, 4), "num_classes": 4},
    ),
    Case(
        pipeline.pipelined_epoch,
        {"negatives": choice(pipeline.STREAMED)},
        lambda: {
            "network": small_network(),
            "optimizer": ADAM,
            "schedule": train.Schedule(1, 1),
        },
    ),
    Case(
        recipe.Recipe,
        RULE
        | {
            "channels": wholes(1).filter(lambda value: not isinstance(value, tuple) or value),
            "kernel": whole(1),
            "stride": whole(1),
            "padding": choice(layer.PADDINGS),
            "pool": choice(layer.POOLS, none=True),
            "competition": choice(layer.COMPETITIONS),
            "hidden": wholes(1),
            "activation": choice(layer.ACTIVATIONS),
            "initializer": choice(layer.INITIALIZERS),
            "precision": choice(recipe.PRECISIONS),
            "winners": whole(1, none=True),
            "ffa_winners": whole(1, none=True),
            "overlay": choice(recipe.OVERLAYS),
            "class_units": choice(recipe.CLASS_UNITS),
            "overlay_size": whole(1),
            "overlay_density": number(above=0, at_most=1),
            "overlay_value": number(above=0),
            "normalize": choice(rules.NORMALIZE, none=True),
            "eps": number(above=0),
            "probability": choice(recipe.PROBABILITIES),
            "ffa_threshold": number(above=0),
            "ffa_logit_scale": number(above=0),
            "ffa_measure": choice(goodness.MEASURES),
            "negatives": NEGATIVES,
            "first_scored": whole(0),
            "layer_schedule": choice(recipe.LAYER_SCHEDULES),
            "epochs": whole(1),
            "batch_size": whole(1),
            "learning_rate": number(above=0),
            "weight_decay": number(at_least=0),
            "lr_schedule": choice(recipe.LR_SCHEDULES),
            "input_dropout": number(at_least=0, at_most=0.99),
            "adversarial": number(above=0, none=True),
            "shift": whole(0),
            "selection": choice(recipe.SELECTIONS),
            "scaling": choice(recipe.SCALINGS),
        },
        call=built,
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
        features.box_means,
        {"size": whole(1), "parts": whole(1)},
        lambda: {"size": 4, "parts": 2},
    ),
    Case(
        features.maps,
        {"shape": wholes(1)} | dict.fromkeys(("width", "kernel", "stride", "grid"), whole(1)),
        lambda: {"shape": (4, 4), "width": 4, "kernel": 2, "stride": 1, "grid": 2},
    ),
    Case(
        statistics.empty_statistics,
        {"classes": whole(1), "features": whole(1)},
        lambda: {"classes": 2, "features": 2},
    ),
    Case(
        statistics.discriminant,
        {"ridge": number(above=0)},
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
    Case(strategies.slda, {"ridge": number(above=0)}),
    Case(rules.ffa, RULE | {"threshold": number(above=0)}),
    Case(rules.sffa, RULE | {"eps": number(above=0)}),
    Case(class_units.groups, {"classes": whole(2)}, lambda: {"polar": True}),
    Case(class_units.learned, {"classes": whole(2)}, lambda: {"polar": True}),
    Case(rules.polar_ffa, RULE | {"threshold": number()}),
    Case(
        streaming.make_stream,
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
        lambda: dict.fromkeys(("learner", "schedule", "position", "stream")),
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
        {"repeats": whole(1), "min_seconds": number(at_least=0)},
        lambda: {"function": abs, "runs": LABELS},
    ),
    Case(sweep.seed_keys, {"seeds": wholes(0)}, lambda: {"seeds": [1]}),
    Case(
        sweep.sweep,
        {"parallel": choice(["auto", *placement.MODES]), "budget": number(above=0, none=True)},
        lambda: {"run": lambda key, _: key, "keys": jax.random.split(key(), 2), "parallel": "map"},
    ),
    Case(
        train.make_samples,
        {"num_classes": whole(1), "mean": number(), "std": number(at_least=0)},
        lambda: {
            "images": IMAGES,
            "labels": LABELS,
            "num_classes": 4,
            "mean": 0.0,
            "std": 1.0,
        },
    ),
    Case(
        train.pixel_scale,
        {"mean": number(), "std": number(at_least=0)},
        lambda: {"mean": 0.0, "std": 1.0, "image_shape": (4, 4)},
    ),
    Case(
        train.Schedule,
        {"epochs": whole(1), "batch_size": whole(1)},
        lambda: {"epochs": 1, "batch_size": 1},
    ),
    Case(winners.kth_largest, {"k": whole(1)}, lambda: {"h": H}),
    Case(winners.keep_largest, {"k": whole(1)}, lambda: {"h": H}),
    Case(winners.keep_winners, {"k": whole(1)}, lambda: {"h": H}),
]

EXEMPT = {
    "checks": "the checks themselves",
    "estimator": "its parameters are checked when it is fitted, as scikit-learn has it",
    "report": "tables and figures of what this library recorded",
    "backprop.with_read_out": "part of backprop_learner and end_to_end, which check",
    "scale.checkpoints.Checkpoint": "a result",
    "checkpoint.Trained": "parts of a run that went through Recipe and Network",
    "ownership.Ownership": "made by the functions of its module",
    "scale.processes.all_reduce_max": "numbers of the library's own, between processes",
    "convolution": "stands for XLA's own in Flax, which passes the arguments",
    "page": "a page of what this library recorded",
    "continual.model.Model": "made by the functions of its module",
    "continual.runner.ContinualConfig": "negatives are checked where they are used, in Problem",
    "continual.runner.TaskSchedule": "made by make_task_schedule",
    "train.pixel_scale.image_shape": "images have a shape",
    "data.load.data_dir": "a path",
    "data.Dataset": "texts",
    "data.OnDisk": "texts",
    "data.Records": "its split is one that TFDS named",
    "data.read_cifar10": "its name stands in messages only",
    "data.read_emnist_letters": "its name stands in messages only",
    "data.read_idx": "axes that a file is refused for not having",
    "scale.resumable.Interrupted": "raised with the number of a signal that came",
    "learner.Learner": "made by the learners' functions",
    "negatives.every": "uses none of its arguments",
    "rules.LocalRule": "made by the functions of its module",
    "overlays.Part": "made by parts and next_input",
    "overlays.check_labels": "a check itself",
    "scale.placement.take_runs": "chunks of runs that were counted",
    "scale.sweep.Choice": "a result",
    "scale.sweep.CompiledSweep": "a result",
    "train.plan_epoch": "the number of samples is that of an array",
    "winners.kth_by_groups": "kernel of kth_largest, which checks",
    "winners.kth_by_bisection": "kernel of kth_largest, which checks",
    "winners.kth_by_top_k": "kernel of kth_largest, which checks",
    "winners_gpu.kth_in_registers": "kernel of kth_largest, which checks",
}
"""What is not in the table, and why."""

SAYS = dict.fromkeys(("data.check_name", "data.load", "data.open_on_disk"), "dataset")
"""Where a message names the command's option instead."""


def name_of(function):
    """As the table of exemptions has it: data's functions by the name users import them under."""
    module = function.__module__.removeprefix("sffa_jax.")
    return f"{'data' if module.startswith('data.') else module}.{function.__name__}"


def shown(value):
    """How a message may show a value, or what is wrong in it."""
    parts = value if isinstance(value, list | tuple) else ()
    nothing = {"none", "0 classes", "[]"} if isinstance(value, tuple) and not value else set()
    return {str(value), repr(value)}.union(nothing, *map(shown, parts))


TABLE = {name_of(case.function): case for case in CASES}


@pytest.mark.parametrize(
    ("name", "argument"),
    [(name, argument) for name, case in TABLE.items() for argument in case.bad],
)
@settings(deadline=5000)  # a hang
@given(drawn=st.data())
def test_a_bad_argument_is_refused_by_name_and_value(name, argument, drawn):
    case = TABLE[name]
    value = drawn.draw(case.bad[argument])
    with pytest.raises((ValueError, TypeError)) as caught:
        (case.call or case.function)(**case.good() | {argument: value})
    message = str(caught.value)
    assert f"`{SAYS.get(name, argument)}`" in message
    assert any(text in message for text in shown(value))
    innermost = traceback.extract_tb(caught.tb)[-1].filename
    assert PACKAGE in Path(innermost).parents, innermost


def checkable(annotation):
    """Whether an argument is a number or a name, or a sequence of whole numbers."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    members = typing.get_args(annotation) if union else (annotation,)
    whole_numbers = (Sequence[int], tuple[int, ...], Sequence[Sequence[int]])
    # A path may be any string.
    return Path not in members and any(one in (int, float, str, *whole_numbers) for one in members)


def public_functions():
    """The public functions and classes of all modules; of `data`, what it names as public."""
    for found in pkgutil.walk_packages(sffa_jax.__path__, "sffa_jax."):
        inside = found.name.removeprefix("sffa_jax.")
        if inside in EXEMPT or inside.startswith(("analysis", "data")):
            continue
        for name, value in vars(importlib.import_module(found.name)).items():
            if not name.startswith("_") and getattr(value, "__module__", None) == found.name:
                yield value
    yield from (getattr(data, name) for name in data.__all__)


def arguments(function):
    """Names of a function's arguments that are numbers or names."""
    # Errors and dictionaries have no signature; states of a run are built by the library.
    if isinstance(function, type) and issubclass(function, Exception | dict | struct.PyTreeNode):
        return set()
    if not isinstance(function, type | types.FunctionType):
        return set()
    parameters = inspect.signature(function).parameters
    return {name for name, value in parameters.items() if checkable(value.annotation)}


def test_every_public_function_is_in_the_table():
    missing = {
        f"{name_of(function)}.{argument}"
        for function in public_functions()
        for argument in arguments(function)
        if name_of(function) not in EXEMPT
        and f"{name_of(function)}.{argument}" not in EXEMPT
        and argument not in getattr(TABLE.get(name_of(function)), "bad", {})
    }
    assert not sorted(missing)
    assert not set(TABLE) & set(EXEMPT)


def test_an_unknown_option_of_a_rule_is_refused():
    with pytest.raises(ValueError, match=r"^ffa: `choices` must be one of .*, got 'margni'"):
        rules.ffa(margni=1.0)


@pytest.mark.parametrize("value", [2, np.int64(2), np.array(2), jnp.int32(2)])
def test_numbers_of_any_library_are_good(value):
    checks.check_integer("f", "n", value, 2)
    for number_of_it in (value, value * 0.5, np.float32(1), jnp.bfloat16(1), Fraction(1)):
        checks.check_range("f", "x", number_of_it, above=0, at_most=2)
