"""Presets are pinned: a change of one is a change of every number that was measured with it."""

import dataclasses
import json
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.config.presets import PRESETS
from experiments.config.recipe import CONTINUOUS, Recipe

GOLDEN = Path(__file__).parent / "presets.json"


def check_first_step(algorithm, learner, x, depth=None):
    """Shapes of an update's losses and of all labels' scores after it; SFFA's values are finite.

    A program takes a second to compile, and the learners' own tests train all of them."""
    labels = jax.numpy.arange(8) % 3

    def run(key):
        state, losses = learner.step(learner.init(key, x), jax.random.fold_in(key, 1), x, labels)
        return losses, learner.scores(state, x)

    values = (jax.jit(run) if algorithm == "sffa" else partial(jax.eval_shape, run))(
        jax.random.key(1)
    )
    losses, scores = values
    assert scores.shape[1:] == (8, 3)
    assert depth is None or (losses.shape, scores.shape[0]) == ((depth,), depth)
    if algorithm == "sffa":
        assert all(jax.numpy.isfinite(value).all() for value in values)


def test_presets_are_what_they_were():
    found = {name: dataclasses.asdict(recipe) for name, recipe in PRESETS.items()}
    assert json.loads(json.dumps(found)) == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("algorithm", ["ffa", "sffa", "bp"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_takes_a_step(preset, algorithm):
    size: dict = {"hidden": (64, 64) if PRESETS[preset].winners else (16,)}
    shape = (4, 5)
    if PRESETS[preset].channels:
        size = {"channels": (4, 6), "pooled": (), "first_scored": 1}
        shape = (20, 22)
    recipe = dataclasses.replace(PRESETS[preset], **size, batch_size=8, epochs=1)
    recipe.check()
    learner = recipe.learner(algorithm, shape, 3, num_samples=32)
    x = jax.random.normal(jax.random.key(0), (8, shape[0] * shape[1]))
    check_first_step(algorithm, learner, x)


@pytest.mark.parametrize(
    ("algorithm", "loss_name", "others"),
    [
        # A threshold cancels in a softmax over the labels; only a softmax smooths them.
        ("ffa", "softmax", ("eps", "logit_scale", "ffa_threshold")),
        ("ffa", "bce", ("eps", "logit_scale", "label_smoothing")),
        ("sffa", "softmax", "ffa_"),
    ],
)
def test_continuous_choices_may_be_traced(algorithm, loss_name, others):
    """Traced numbers give what numbers give that users write, and each of them counts."""
    recipe = Recipe(hidden=(8,), batch_size=4, epochs=1, overlay="appended_pattern", loss=loss_name)
    names = [name for name in CONTINUOUS if not name.startswith(others)]
    x, labels = jax.random.normal(jax.random.key(0), (4, 9)), jax.numpy.arange(4) % 3

    def loss(values):
        changed = dataclasses.replace(recipe, **dict(zip(names, values, strict=True)))
        learner = changed.learner(algorithm, (3, 3), 3, num_samples=8)
        augment = changed.schedule((3, 3)).augment
        seen = x if augment is None else augment(jax.random.key(0), x)
        state, _ = learner.step(learner.init(jax.random.key(1), x), jax.random.key(2), seen, labels)
        return learner.step(state, jax.random.key(3), seen, labels)[1][0]

    low, high = [0.2] * len(names), [0.7] * len(names)
    # All low, each of them high in turn, all high.
    rows = np.stack([low, *np.where(np.eye(len(names)), 0.7, 0.2), high]).astype(np.float32)
    program = jax.jit(lambda rows: (jax.vmap(loss)(list(rows.T)), loss(low), loss(high)))
    traced, *typed = program(rows)
    assert [traced[0], traced[-1]] == pytest.approx([float(value) for value in typed], rel=1e-4)
    unchanged = [n for n, value in zip(names, traced[1:], strict=False) if value == traced[0]]
    assert not unchanged


def test_steps_of_the_learning_rate():
    """A quarter from 50, 75, 88 and 94 % of the updates (Nokland and Eidnes 2019)."""
    rates = []
    optimizer = Recipe(lr_schedule="steps", learning_rate=1.0).optimizer(100)
    for count in (0, 49, 50, 75, 88, 94):
        state = optimizer.init(np.float32(0))
        state = jax.tree.map(lambda x, c=count: np.int32(c) if x.dtype == np.int32 else x, state)
        # Adam's first moments are empty: every gradient gives the same direction.
        rates.append(abs(float(optimizer.update(np.float32(1), state, np.float32(0))[0])))
    quarters = np.round(np.log(np.array(rates) / rates[0]) / np.log(0.25)).astype(int)
    assert quarters.tolist() == [0, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overlay": "x"}, "`overlay` must be one of appended_gaussian"),
        ({"overlay": "none"}, "`overlay` must mark the label, got 'none'"),
        ({"class_units": "learned"}, "`overlay` must be none, got 'appended_gaussian'"),
        ({"update_order": "x"}, "`update_order` must be one of greedy, sequential, simultaneous"),
        ({"score": "x"}, "`score` must be one of logit, probability"),
        ({"lr_schedule": "x"}, "`lr_schedule` must be one of constant, cosine, one_cycle, steps"),
        ({"second_term": "contrast"}, "`second_term` must be None without class units"),
        ({"selection": "x"}, "`selection` must be one of last, test, validation"),
        ({"scaling": "x"}, "`scaling` must be one of mnist, training"),
        ({"weight_decay": -1.0}, "`weight_decay` must be a number at least 0"),
    ],
)
def test_bad_recipes(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(Recipe(), **changes).check()


# Backprop uses neither overlay nor class units.
LABELS = [("image_wave", "none"), ("corner", "none"), ("none", "groups"), ("none", "learned")]
CONVOLUTIONS = [(algorithm, *labels) for algorithm in ("ffa", "sffa") for labels in LABELS]


@pytest.mark.parametrize(
    ("algorithm", "overlay", "class_units"),
    [*CONVOLUTIONS, ("head", "corner", "none"), ("bp", "image_wave", "none")],
)
def test_a_recipe_of_convolutions_takes_a_step(algorithm, overlay, class_units):
    """With a dense layer on top, and images of three channels."""
    recipe = Recipe(
        channels=(6,),
        hidden=(18,),
        overlay=overlay,
        class_units=class_units,
        negatives="all",
        lr_schedule="steps",
        places=30,
        second_term="similarity_head" if class_units == "learned" else None,
        batch_size=8,
        epochs=1,
    )
    recipe.check()
    assert recipe.depth == 2
    learner = recipe.learner(algorithm, (8, 6, 3), 3, num_samples=32)
    x = jax.random.normal(jax.random.key(0), (8, 144))
    check_first_step(algorithm, learner, x, depth=1 if algorithm == "bp" else 2)
