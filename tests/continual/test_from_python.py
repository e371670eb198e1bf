"""The programs of the page on continual learning."""

import re
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from unchecked import no_shape_checks

from sffa_jax import (
    Network,
    continual,
    data,
    dense_layers,
    ffa,
    local_learner,
    predict,
    samples_from,
    sffa,
)
from sffa_jax.core import class_units, overlays
from sffa_jax.core.rules import with_class_units

PAGE = Path(__file__).parents[2] / "docs/continual.md"


def test_replay_and_an_own_strategy_from_python(capsys):
    # Marked programs are files, which another test runs.
    page = PAGE.read_text()
    first, own = re.findall(r"(?<!-->\n)```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(first + own, names)
    # Four of five tasks are forgotten without a buffer; weight decay does not change that.
    replay, shrunk = names["replay"], names["shrunk"]
    assert (replay.average_accuracy > 0.75).all()
    assert (shrunk.average_accuracy < 0.4).all()
    for program in (first, own):
        assert len([line for line in program.splitlines() if line.strip()]) <= 10
    # The page's output, but for rounding on other machines.
    (output,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    printed = capsys.readouterr().out
    assert re.sub(r"\d+\.\d+", "", printed).split() == re.sub(r"\d+\.\d+", "", output).split()
    numbers = [re.findall(r"\d+\.\d+", text) for text in (printed, output)]
    np.testing.assert_allclose(*(np.array(n, float) for n in numbers), atol=5)
    # Each seed has its own class order, and the measures follow from the matrix.
    assert replay.matrix.shape == (2, 5, 5)
    np.testing.assert_allclose(replay.average_accuracy, replay.matrix[:, -1].mean(axis=-1))
    np.testing.assert_allclose(replay.earlier_tasks, replay.matrix[:, -1, :-1].mean(axis=-1))
    np.testing.assert_allclose(replay.newest_task, replay.matrix[:, -1, -1])
    assert replay.stored.images == 100 * 64
    assert not np.array_equal(replay.matrix[0], replay.matrix[1])


def test_a_run_is_that_of_the_pure_function():
    train, test = samples_from(data.load("digits"))
    model = continual.end_to_end(dense_layers([8]), num_labels=2)
    settings = {"kind": "domain", "num_tasks": 5}
    (replay, optimizer) = continual.strategies.replay(slots=20), optax.adam(1e-3)
    runs = continual.run(model, replay, train, test, seeds=[3], batch_size=16, **settings)
    scenario, tasks = continual.split_tasks(train, test, seed=3, **settings)
    schedule = continual.make_task_schedule(tasks.stream, epochs=1, batch_size=16)
    config = continual.ContinualConfig(model, scenario, replay, optimizer, schedule)
    expected = jax.jit(lambda key: continual.run_tasks(config, key, tasks))(jax.random.key(3))
    np.testing.assert_allclose(runs.accuracy[0], expected.accuracy, atol=1e-6)
    np.testing.assert_allclose(runs.losses[0], expected.losses, rtol=1e-4)


def test_an_order_of_classes_gives_the_tasks_and_a_diverged_run_is_named():
    train, test = samples_from(data.load("digits"))
    model = continual.end_to_end(dense_layers([8]), num_labels=2)
    order, settings = (7, 0, 3, 4), {"kind": "domain", "num_tasks": 2, "batch_size": 64}
    tasks = continual.split_tasks(train, test, kind="domain", num_tasks=2, order=order)[1]
    first = set(np.asarray(train.labels)[tasks.stream.train[0, : tasks.stream.num_train[0]]])
    assert first == {7, 0}
    settings |= {"order": order, "seeds": (0, 5)}
    none, rates = continual.strategies.none(), {0: 1e-3, 2: 1e30}
    for number, rate in rates.items():
        runs = continual.run(model, none, train, test, optimizer=optax.sgd(rate), **settings)
        assert runs.diverged.sum() == number
        ending = "diverged (a loss was not finite): seeds 0, 5"
        assert str(runs).endswith(ending) == bool(number)


def test_a_network_of_other_labels_and_no_seed_are_refused():
    train, test = samples_from(data.load("digits"))
    network = Network(dense_layers([8]), sffa(), overlays.appended_gaussian(), num_classes=10)
    with pytest.raises(ValueError, match="`network` must have 2 classes, the labels of the domain"):
        continual.run(network, continual.strategies.none(), train, test, kind="domain")
    with pytest.raises(ValueError, match="`seeds` must"):
        continual.run(network, continual.strategies.none(), train, test, seeds=[])


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"strategy": continual.strategies.none}, "`strategy` must be a `Strategy`, got function"),
        ({"strategy": "replay"}, "`strategy` must be a `Strategy`, got str"),
        ({"optimizer": 0.001}, "`optimizer` must be an optax optimizer, got float"),
        ({"network": dense_layers([8])}, "`network` must be a `Network` or a `Model`, got tuple"),
        ({"train": np.zeros((4, 64))}, "`samples` must be `Samples`, got ndarray"),
    ],
)
def test_what_is_no_network_strategy_optimizer_or_samples_is_refused(changed, rule):
    train, test = samples_from(data.load("digits"))
    model = continual.end_to_end(dense_layers([8]), num_labels=10)
    strategy = continual.strategies.none()
    arguments = {"network": model, "strategy": strategy, "train": train, "test": test}
    with no_shape_checks(), pytest.raises(TypeError, match=rule):
        continual.run(**arguments | changed)


@pytest.mark.parametrize("groups", [None, 5])
def test_class_groups_need_a_group_for_each_class(groups):
    train, test = samples_from(data.load("digits"))
    model = continual.end_to_end(dense_layers([8]), num_labels=10)
    if groups:
        model = continual.grouped_model([10], groups, lambda h: h.mean(axis=-1), polar=False)
    strategy = continual.strategies.class_groups(shape=(8, 8))
    with pytest.raises(ValueError, match="`model` must be a `grouped_model` with 10 groups"):
        continual.run(model, strategy, train, test)


@pytest.mark.parametrize(
    ("kind", "outputs", "labels"), [("class", 8, 10), ("domain", 10, 2), ("task", 2, 10)]
)
def test_a_model_of_other_labels_is_refused_before_training(kind, outputs, labels):
    train, test = samples_from(data.load("digits"))
    model = continual.end_to_end(dense_layers([8]), num_labels=outputs)
    rule = f"`model` must have {labels} outputs, the labels of the {kind} scenario, got {outputs}"
    with pytest.raises(ValueError, match=rule):
        continual.run(model, continual.strategies.none(), train, test, kind=kind)


@pytest.mark.parametrize("strategy", ["slda", "ncm", "qda"])
def test_closed_forms_refuse_features_that_depend_on_a_label(strategy):
    train, test = samples_from(data.load("digits"))
    network = Network(dense_layers([8]), sffa(), overlays.appended_gaussian(), num_classes=10)
    closed_form = getattr(continual.strategies, strategy)()
    with pytest.raises(ValueError, match="`model` must have features that depend on no label"):
        continual.run(network, closed_form, train, test)
    two_layers = continual.end_to_end(dense_layers([8, 8]), num_labels=10)
    with pytest.raises(ValueError, match="one layer in each module, got 2 layers and 1 modules"):
        continual.run(two_layers, closed_form, train, test)


def test_closed_forms_take_features_of_class_units():
    train, test = samples_from(data.load("digits"))
    rule = with_class_units(sffa(), class_units.learned())
    network = Network(dense_layers([40]), rule, overlays.none(), num_classes=10)
    runs = continual.run(network, continual.strategies.slda(), train, test)
    assert (runs.average_accuracy > 0.7).all()


@pytest.mark.parametrize("kind", ["class", "domain", "task"])
def test_a_trained_network_predicts(kind):
    """As accurate on each task as the run's last row says; so is its state of a learner."""
    digits = data.load("digits")
    train, test = samples_from(digits)
    labels = 2 if kind == "domain" else 10
    network = Network(dense_layers([30]), sffa(), overlays.appended_gaussian(), num_classes=labels)
    strategy = continual.strategies.replay(slots=50)
    runs = continual.run(network, strategy, train, test, kind=kind, epochs=4, seeds=[2, 3])
    order, learner = np.array(runs.orders[1]), local_learner(network, optax.adam(1e-3))
    state = runs.state(learner, run=1)
    for task, expected in enumerate(runs.matrix[1, -1]):
        classes = order[2 * task : 2 * task + 2]
        chosen = np.isin(digits.test_labels, classes)
        images, truth = digits.test_images[chosen], digits.test_labels[chosen]
        known = {"task": task} if kind == "task" else {}
        found = runs.predict(images, run=1, **known)
        if kind == "domain":
            truth = (truth == classes[1]).astype(int)
        assert (found == truth).mean() == pytest.approx(expected, abs=1e-6)
        if kind != "task":
            again = predict(learner, state, train.scaled_images(images))
            np.testing.assert_array_equal(again if kind == "domain" else order[again], found)


def test_what_cannot_be_predicted_is_refused():
    train, test = samples_from(data.load("digits"))
    model = continual.features.pixels()
    runs = continual.run(model, continual.strategies.ncm(), train, test)
    assert runs.predict(data.load("digits").test_images[:3]).shape == (3,)
    images = np.zeros((1, 8, 8), np.uint8)
    with pytest.raises(ValueError, match="`task` must be left out unless it is known, got 0. The"):
        runs.predict(images, task=0)
    with pytest.raises(ValueError, match="`run` must be a number at least 0 and at most 0, got 1"):
        runs.predict(images, run=1)
    network = Network(dense_layers([8]), sffa(), overlays.appended_gaussian(), num_classes=10)
    learner = local_learner(network, optax.adam(1e-3))
    with pytest.raises(ValueError, match="`run` must predict by the scores of a `Network`, got"):
        runs.state(learner)
    other = Network(dense_layers([8]), ffa(), overlays.appended_gaussian(), num_classes=10)
    trained = continual.run(other, continual.strategies.none(), train, test)
    with pytest.raises(ValueError, match="`learner` must be a `local_learner` of the network that"):
        trained.state(learner)


def test_a_hook_of_other_arguments_and_a_batch_beyond_a_task_are_refused():
    train, test = samples_from(data.load("digits"))
    model = continual.end_to_end(dense_layers([8]), num_labels=10)
    own = continual.Strategy(penalty=lambda modules: 0.0)
    rule = r"`strategy.penalty` must be a function of \(problem, state, key, modules, batch\)"
    with pytest.raises(TypeError, match=rule):
        continual.run(model, own, train, test)
    rule = "`batch_size` must be at most the 28. samples of the smallest task, got 5000. Choose a"
    with pytest.raises(ValueError, match=rule):
        continual.run(model, continual.strategies.none(), train, test, batch_size=5000)
