"""Presets are pinned: a change of one is a change of every number that was measured with it."""

import dataclasses
import json
from pathlib import Path

import jax
import pytest

from experiments.config.presets import PRESETS
from experiments.config.recipe import CONTINUOUS, Recipe

GOLDEN = Path(__file__).parent / "presets.json"


def first_step(learner, x, labels):
    """Losses of an update, and all labels' scores after it, in one program."""

    @jax.jit
    def run(key):
        state, losses = learner.step(learner.init(key, x), jax.random.fold_in(key, 1), x, labels)
        return losses, learner.scores(state, x)

    return run(jax.random.key(1))


def test_presets_are_what_they_were():
    found = {name: dataclasses.asdict(recipe) for name, recipe in PRESETS.items()}
    assert json.loads(json.dumps(found)) == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("algorithm", ["ffa", "sffa", "bp"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_takes_a_step(preset, algorithm):
    size: dict = {"hidden": (64, 64) if preset in ("paper", "released") else (16,)}
    shape = (4, 5)
    if PRESETS[preset].channels:
        size, shape = {"channels": (4, 6)}, (20, 22)
    recipe = dataclasses.replace(PRESETS[preset], **size, batch_size=8, epochs=1)
    recipe.check()
    learner = recipe.learner(algorithm, shape, 3, num_samples=32)
    x = jax.random.normal(jax.random.key(0), (8, shape[0] * shape[1]))
    losses, scores = first_step(learner, x, jax.numpy.arange(8) % 3)
    assert jax.numpy.isfinite(losses).all()
    assert scores.shape[1:] == (8, 3)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_choices_may_be_traced(name):
    recipe = Recipe(hidden=(8,), batch_size=4, epochs=1, overlay="appended_pattern")
    if name == "label_smoothing":
        recipe = dataclasses.replace(recipe, loss="softmax")
    x, labels = jax.random.normal(jax.random.key(0), (4, 9)), jax.numpy.arange(4) % 3
    algorithm = "ffa" if name.startswith("ffa") else "sffa"

    def loss(value):
        changed = dataclasses.replace(recipe, **{name: value})
        learner = changed.learner(algorithm, (3, 3), 3, num_samples=8)
        augment = changed.schedule((3, 3)).augment
        seen = x if augment is None else augment(jax.random.key(0), x)
        state, _ = learner.step(learner.init(jax.random.key(1), x), jax.random.key(2), seen, labels)
        return learner.step(state, jax.random.key(3), seen, labels)[1][0]

    # Traced values, and the same values as numbers, as users write them: one program.
    traced, *typed = jax.jit(lambda v: (jax.vmap(loss)(v), loss(0.2), loss(0.7)))(
        jax.numpy.array([0.2, 0.7])
    )
    assert traced.tolist() == pytest.approx([float(value) for value in typed], rel=1e-4)
    assert traced[0] != traced[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overlay": "x"}, "`overlay` must be one of appended_gaussian"),
        ({"overlay": "none"}, "`overlay` must mark the label, got 'none'"),
        ({"class_units": "learned"}, "`overlay` must be none, got 'appended_gaussian'"),
        ({"update_order": "x"}, "`update_order` must be one of greedy, sequential, simultaneous"),
        ({"score": "x"}, "`score` must be one of logit, probability"),
        ({"lr_schedule": "x"}, "`lr_schedule` must be one of constant, cosine, one_cycle"),
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
    ("algorithm", "overlay", "class_units"), [*CONVOLUTIONS, ("bp", "image_wave", "none")]
)
def test_a_recipe_of_convolutions_takes_a_step(algorithm, overlay, class_units):
    """With a dense layer on top, and images of three channels."""
    recipe = Recipe(
        channels=(6, 12),
        hidden=(18,),
        overlay=overlay,
        class_units=class_units,
        negatives="all",
        batch_size=8,
        epochs=1,
    )
    recipe.check()
    assert recipe.depth == 3
    learner = recipe.learner(algorithm, (8, 6, 3), 3, num_samples=32)
    x = jax.random.normal(jax.random.key(0), (8, 144))
    losses, scores = first_step(learner, x, jax.numpy.arange(8) % 3)
    assert jax.numpy.isfinite(losses).all()
    depth = 1 if algorithm == "bp" else 3
    assert losses.shape == (depth,)
    assert scores.shape == (depth, 8, 3)
