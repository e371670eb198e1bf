"""A saved network comes back and predicts the same, from raw pixels."""

import functools
import json
import re
import subprocess
import sys
import tempfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from unchecked import no_shape_checks

from sffa_jax import (
    FitResult,
    Layer,
    Network,
    Schedule,
    backprop_learner,
    class_units,
    conv_layers,
    dense_layers,
    ffa,
    fit,
    greedy,
    load,
    local_learner,
    make_rule,
    make_samples,
    overlays,
    predict,
    save,
    sffa,
    with_class_units,
)
from sffa_jax.core import second_terms
from sffa_jax.core.bodies import Body, nnx_body
from sffa_jax.core.network import hidden_activities
from sffa_jax.core.rules import linear_head, with_second_term
from sffa_jax.training import evaluate
from sffa_jax.training.augment import mirrored
from sffa_jax.training.averages import averaged
from sffa_jax.training.evaluate import score_samples

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 4, 4)).astype(np.uint8)
LABELS = np.arange(12) % 3
SAMPLES = make_samples(IMAGES, LABELS, num_classes=3, mean=0.4, std=0.3)
ADAM = optax.adam(1e-2)
KEYS = jax.dtypes.prng_key


def dense(rule, make_overlay, **options):
    layers = dense_layers([8, 6], winners=2)
    return local_learner(Network(layers, rule, make_overlay, 3), ADAM, **options)


LEARNERS = {
    "sffa": lambda: dense(
        sffa(loss="softmax", eps=jnp.float32(0.1)), overlays.appended_gaussian(size=4)
    ),
    "ffa": lambda: dense(
        ffa(clip=1e-4, activity_rate=10.0, score="probability"),
        overlays.appended_pattern(size=4),
        update_order="sequential",
    ),
    "greedy": lambda: dense(sffa(), overlays.corner_one_hot(), update_order=greedy(2)),
    "convolution": lambda: local_learner(
        Network(
            conv_layers((4, 4), [6, 12], precision="bfloat16", normalization="batch", dropout=0.1),
            with_second_term(
                with_class_units(sffa(normalize="whole"), class_units.learned(places=6)),
                second_terms.supervised_contrast(size=4),
            ),
            overlays.none(),
            3,
            last_scored=0,
        ),
        ADAM,
        negatives="all",
    ),
    "wave": lambda: local_learner(
        Network(conv_layers((4, 4), [4], pool=None), sffa(), overlays.image_wave((4, 4)), 3), ADAM
    ),
    "head": lambda: dense(linear_head(), overlays.none(), negatives="all"),
    "averaged and mirrored": lambda: mirrored(
        averaged(backprop_learner(dense_layers([8]), 3, ADAM), 0.9), (4, 4)
    ),
    "bp": lambda: backprop_learner(dense_layers([8], activation="tanh"), 3, ADAM),
}


def trained(learner):
    """The state after three steps."""

    @jax.jit
    def run(key):
        x = SAMPLES.scaled(SAMPLES.images)

        def step(state, key):
            return learner.step(state, key, x, SAMPLES.labels)[0], None

        return jax.lax.scan(step, learner.init(key, x), jax.random.split(key, 3))[0]

    return run(jax.random.key(0))


@functools.cache
def learned(name):
    """A learner, its state, and what `load` returns for both."""
    learner = LEARNERS[name]()
    state = trained(learner)
    with tempfile.TemporaryDirectory() as folder:
        save(f"{folder}/network", learner, state, SAMPLES, info={"note": "x"})
        return learner, state, load(f"{folder}/network")


@pytest.mark.parametrize("name", LEARNERS)
def test_a_saved_network_predicts_the_same(tmp_path, name):
    learner, state, saved = learned(name)
    save(tmp_path / "network", learner, state, SAMPLES)
    assert saved.info == {"note": "x"}
    x = SAMPLES.scaled(SAMPLES.images)
    scores = np.asarray(jax.jit(learner.scores)(state, x))
    np.testing.assert_array_equal(jax.jit(saved.learner.scores)(saved.state, x), scores)
    labels = scores[learner.scored].sum(axis=0).argmax(axis=-1)
    np.testing.assert_array_equal(saved.predict(IMAGES), labels)
    chex.assert_trees_all_equal(load(tmp_path / "network", learner=learner).state, state)


def test_the_other_float_width(tmp_path):
    learner, state, saved = learned("sffa")
    save(tmp_path / "network", learner, state, SAMPLES)
    expected = saved.predict(IMAGES)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(load(tmp_path / "network").predict(IMAGES), expected)
        learner = learned("bp")[0]
        wide = trained(learner)
        save(tmp_path / "wide", learner, wide, SAMPLES)
        expected = predict(learner, wide, SAMPLES)
    np.testing.assert_array_equal(load(tmp_path / "wide").predict(IMAGES), expected)


def test_functions_of_ones_own_need_the_learner(tmp_path):
    rule = make_rule(lambda h: jnp.sum(h, axis=-1) - 1.0)
    layers = (Layer(nn.Dense(8), activation=lambda h: jnp.maximum(h, 0.1 * h)),)
    learner = local_learner(Network(layers, rule, overlays.corner_one_hot(), 3), ADAM)
    state = trained(learner)
    save(tmp_path / "network", learner, state, SAMPLES)
    with pytest.raises(ValueError, match=r"`learner` must be given, since <function .*<lambda>"):
        load(tmp_path / "network")
    saved = load(tmp_path / "network", learner=learner)
    np.testing.assert_array_equal(saved.predict(IMAGES), predict(learner, state, SAMPLES))
    with pytest.raises(ValueError, match=r"`learner` must be the saved one, with state.* got"):
        load(tmp_path / "network", learner=LEARNERS["ffa"]())


def test_another_learner_of_the_same_shapes_is_refused(tmp_path):
    learner = dense(sffa(), overlays.corner_one_hot())
    save(tmp_path / "network", learner, trained(learner), SAMPLES)
    assert load(tmp_path / "network", learner=learner).predict(IMAGES).shape == (12,)
    with pytest.raises(ValueError, match="`learner` must be built like the saved one, got another"):
        load(tmp_path / "network", learner=dense(ffa(), overlays.corner_one_hot()))
    # A function of one's own cannot be compared, but all other parts are.
    own = {"negatives": lambda key, labels, num_classes, scores: None}
    load(tmp_path / "network", learner=dense(sffa(), overlays.corner_one_hot(), **own))
    with pytest.raises(ValueError, match="`learner` must be built like the saved one, got another"):
        load(tmp_path / "network", learner=dense(ffa(), overlays.corner_one_hot(), **own))


def test_a_network_without_its_optimizer_does_not_train(tmp_path):
    learner = dense(sffa(), overlays.corner_one_hot())
    save(tmp_path / "network", learner, trained(learner), SAMPLES)
    saved, schedule = load(tmp_path / "network"), Schedule(epochs=1, batch_size=4)
    with pytest.raises(ValueError, match="`learner` must be passed to continue training, got None"):
        fit(saved.learner, schedule, jax.random.key(0), SAMPLES, state=saved.state)
    result = fit(learner, schedule, jax.random.key(0), SAMPLES, state=learner.restart(saved.state))
    assert np.isfinite(result.history.loss).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"state": lambda state: FitResult(state, None, None)},
            ValueError,
            "`state` must be a state of",
        ),
        (
            {"state": lambda state: jax.tree.map(lambda leaf: leaf[None], state)},  # of one seed
            ValueError,
            r"with state.params.* got shape \(1, ",
        ),
        ({"learner": lambda learner: learner.build}, TypeError, "`learner` must be a learner"),
        ({"samples": lambda samples: samples.images}, TypeError, "`samples` must be `Samples`"),
        ({"info": lambda _: {"a": np.ones(2)}}, TypeError, "`info` must be JSON, got Object of"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path, arguments, error, message):
    learner, state, _ = learned("bp")
    given = {"learner": learner, "state": state, "samples": SAMPLES, "info": None}
    given |= {name: change(given[name]) for name, change in arguments.items()}
    with no_shape_checks():
        with pytest.raises(error, match=message):
            save(tmp_path / "network", **given)
        with pytest.raises(TypeError, match="load: `learner` must be a learner, got dict"):
            load(tmp_path / "network", learner={})
    assert not list(tmp_path.iterdir())


def changed(path, change):
    """The file at `path` with another header."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header"].tobytes())
    change(header)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, **arrays)


def test_damaged_and_foreign_files(tmp_path):
    path = tmp_path / "network"
    save(path, *learned("bp")[:2], SAMPLES)
    whole = path.read_bytes()
    for content in (b"", b"no file", whole[:-30], whole[:200] + b"\xff" + whole[201:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="`path` must be a file that `save` wrote"):
            load(path)
    path.write_bytes(whole)
    changed(path, lambda header: header.update(version=99))
    with pytest.raises(ValueError, match="`path` must have version 2, got 99"):
        load(path)


@pytest.mark.parametrize("name", ["os:system", "builtins:eval", "jax.nn:initializers", "sys"])
def test_no_other_function_is_looked_up(tmp_path, name):
    path = tmp_path / "network"
    save(path, *learned("bp")[:2], SAMPLES)
    changed(path, lambda header: header["learner"].update(partial={"function": name}))
    with pytest.raises(ValueError, match=f"must name known functions only, got {name}"):
        load(path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt("^C")])
def test_what_stops_a_save_leaves_what_was_there(tmp_path, monkeypatch, error):
    path, (learner, state, _) = tmp_path / "network", learned("bp")
    save(path, learner, state, SAMPLES)
    before = path.read_bytes()

    def stopped(*_):
        raise error

    monkeypatch.setattr("os.fsync", stopped)
    with pytest.raises(type(error), match=re.escape(str(error))):
        save(path, learner, state, SAMPLES)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["sffa", "wave", "bp"])
def test_scores_probabilities_and_latents_of_raw_images(name):
    learner, state, saved = learned(name)
    scores = saved.scores(IMAGES)
    # Two programs may round differently.
    np.testing.assert_allclose(scores, score_samples(learner, state, SAMPLES), rtol=1e-5, atol=1e-5)
    probabilities = saved.predict_proba(IMAGES)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    labels = saved.predict(IMAGES)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), labels)
    latents = saved.latents(IMAGES)
    assert all(len(layer) == len(IMAGES) for layer in latents)
    if name == "sffa":
        x, network = saved.scaled_images(IMAGES), learner.build.keywords["network"]
        expected = jax.jit(hidden_activities, static_argnums=0)(
            network, state.params, x, jnp.asarray(labels)
        )
        for ours, of_layer in zip(latents, expected, strict=True):
            np.testing.assert_allclose(ours, of_layer, rtol=1e-6)


PROGRAM = """
import sys
sys.modules["sffa_jax"] = None  # an import of it fails
from pathlib import Path
import jax.export
import numpy as np
for name in sys.argv[2:]:
    program = jax.export.deserialize(Path(sys.argv[1], name).read_bytes())
    rows = np.load(Path(sys.argv[1], "rows.npy"))
    labels, probabilities = program.call(rows)
    again, _ = program.call(rows[:5])  # another number of samples
    assert (np.asarray(again) == np.asarray(labels)[:5]).all()
    np.savez(Path(sys.argv[1], name + ".npz"), labels=labels, probabilities=probabilities)
"""


def test_an_exported_network_runs_without_this_library(tmp_path):
    """In a process that cannot import it."""
    names = ["sffa", "wave", "bp"]
    with no_shape_checks():  # the number of samples is a symbol
        for name in names:
            learned(name)[2].export(tmp_path / name)
    np.save(tmp_path / "rows.npy", IMAGES.reshape(len(IMAGES), -1))
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path, *names],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    for name in names:
        saved = learned(name)[2]
        with np.load(tmp_path / f"{name}.npz") as exported:
            np.testing.assert_array_equal(exported["labels"], saved.predict(IMAGES))
            np.testing.assert_allclose(
                exported["probabilities"], saved.predict_proba(IMAGES), rtol=1e-5, atol=1e-7
            )


def test_a_folder_with_one_network_is_loaded(tmp_path):
    learner, state, _ = learned("bp")
    save(tmp_path / "networks" / "bp-0.npz", learner, state, SAMPLES, info={"class_names": "abc"})
    assert load(tmp_path).class_names == ("a", "b", "c")
    assert load(tmp_path / "networks").predict(IMAGES).shape == (12,)
    save(tmp_path / "networks" / "bp-1.npz", learner, state, SAMPLES)
    with pytest.raises(
        ValueError, match=r"contain one network: .*, got networks/bp-0.npz, networks/"
    ):
        load(tmp_path)


def test_bfloat16_is_restored_exactly(tmp_path):
    layer = Layer(nn.Dense(8, use_bias=False, param_dtype=jnp.bfloat16))
    network = Network((layer,), sffa(), overlays.corner_one_hot(), 3)
    learner = local_learner(network, optax.adam(1e-2, mu_dtype=jnp.bfloat16))
    state = fit(learner, Schedule(1, 6), jax.random.key(0), SAMPLES).state
    save(tmp_path / "network", learner, state, SAMPLES)
    restored = load(tmp_path / "network", learner=learner).state
    chex.assert_trees_all_equal(restored, state, strict=True)


@pytest.mark.parametrize("dtype", [jnp.float8_e4m3fn, jnp.int4])
def test_types_that_numpy_cannot_save_are_restored(tmp_path, dtype):
    body = Body(
        lambda key, x: (
            {"w": jnp.ones((x.shape[-1], 4))},
            {"codes": jnp.arange(-3, 4).astype(dtype)},
        ),
        lambda params, state, x, key, train: (x @ params["w"], state),
    )
    learner = backprop_learner((Layer(body),), 3, ADAM)
    state = trained(learner)
    save(tmp_path / "network", learner, state, SAMPLES)
    chex.assert_trees_all_equal(load(tmp_path / "network", learner=learner).state, state)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_random_keys_of_a_body_are_restored(tmp_path, impl):
    """NNX's dropout keeps them in its state."""
    with jax.default_prng_impl(impl):
        body = nnx_body(lambda rngs: nnx.Dropout(0.5, rngs=rngs))
        learner = backprop_learner((*dense_layers([8]), Layer(body)), 3, ADAM)
        state = fit(learner, Schedule(1, 6), jax.random.key(0), SAMPLES).state
        save(tmp_path / "network", learner, state, SAMPLES)
        saved = load(tmp_path / "network", learner=learner)
        more = [
            fit(learner, Schedule(1, 6), jax.random.key(1), SAMPLES, state=s).state
            for s in (state, saved.state)
        ]
    assert any(jnp.issubdtype(x.dtype, KEYS) for x in jax.tree.leaves(state))
    chex.assert_trees_all_equal(*more)


def test_few_programs_serve_any_number_of_images(tmp_path):
    learner = LEARNERS["sffa"]()
    state = learner.init(jax.random.key(0), SAMPLES.scaled(SAMPLES.images[:1]))
    save(tmp_path / "network", learner, state, SAMPLES)
    saved = load(tmp_path / "network")
    scores = saved.scores(IMAGES)
    saved.predict(IMAGES[:8])
    before = evaluate._compiled_score_chunks._cache_size()
    for number in (5, 6, 7):
        np.testing.assert_allclose(saved.scores(IMAGES[:number]), scores[:, :number], rtol=1e-5)
    assert evaluate._compiled_score_chunks._cache_size() == before
    with pytest.raises(ValueError, match="`images` must contain at least one image"):
        saved.predict(IMAGES[:0])
