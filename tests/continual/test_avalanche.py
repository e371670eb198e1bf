"""The baseline's strategies against Avalanche's: same samples, order and initial weights.

Every update sees its whole task and every memory holds all it could, so that no random draw is
left. Where Avalanche differs, the test says how and takes the difference back:

- EWC: it squares the gradient of each batch, so its importances are taken from batches of one; its
  penalty has no factor 1/2.
- MAS: absolute gradients, likewise by batch.
- SI: it keeps views of the live weights where it means copies, so that nothing ever seems to move;
  importances are cut off above, at 0.001, and not below, at 0; half of its lambda counts. From the
  second task on its path holds the penalty's own gradient too: hence two tasks here.
- LwF: its penalty lacks the factor of the squared temperature.
- GEM: its program has a ridge of 0.001, more than the squares of these gradients.
- A-GEM, Replay: batches of the size of the memory, which two tasks leave no choice in.

DER++, GDumb and joint training are left out: they draw at random in each update.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import quadprog

from sffa_jax import data, dense_layers
from sffa_jax.continual import strategies
from sffa_jax.continual.model import end_to_end
from sffa_jax.continual.problem import Problem
from sffa_jax.continual.runner import ContinualConfig, TaskSchedule, run_tasks
from sffa_jax.continual.scenarios import TaskData, make_scenario, make_task_stream
from sffa_jax.training.samples import make_samples

torch = pytest.importorskip("torch", reason="needs the extra `avalanche`")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("avalanche", reason="needs the extra `avalanche`")
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils.classification_dataset import (
        _make_taskaware_tensor_classification_dataset as make_dataset,
    )
    from avalanche.training import plugins
    from avalanche.training.supervised import Naive

pytestmark = pytest.mark.filterwarnings("ignore")  # Avalanche's own

PER_CLASS = 24
TASK = 2 * PER_CLASS
STEPS = 30
LEARNING_RATE = 0.1
HIDDEN = (16,)
DIGITS = data.load("digits")


def subset(split, count, classes):
    """The first `count` samples of each class, scaled as the runs scale them."""
    images, labels = getattr(DIGITS, f"{split}_images"), getattr(DIGITS, f"{split}_labels")
    kept = np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(classes)]))
    return make_samples(images[kept], labels[kept], num_classes=classes, mean=0.3, std=0.37)


class EveryDraw(Problem):
    """A problem whose draws are the whole task, each sample once."""

    def draw(self, key, task, size):
        assert size == TASK
        return self.stream.train[task, :TASK]


class PerSample:
    """Importances from batches of one sample."""

    def after_training_exp(self, strategy, **kwargs):
        size, strategy.train_mb_size = strategy.train_mb_size, 1
        super().after_training_exp(strategy, **kwargs)
        strategy.train_mb_size = size


class EWC(PerSample, plugins.EWCPlugin):
    pass


class MAS(PerSample, plugins.MASPlugin):
    pass


class SI(plugins.SynapticIntelligencePlugin):
    def after_training_exp(self, strategy, **kwargs):
        self.update_ewc_data(
            strategy.model, self.ewc_data, self.syn_data, 1e9, set(), 1, eps=self.eps
        )
        for importance in self.ewc_data[1].values():
            importance.data = importance.data.clamp(min=0.0)


class GEM(plugins.GEMPlugin):
    def solve_quadprog(self, g):
        references, gradient = self.G.double().numpy(), g.double().numpy()
        gram, one = references @ references.T, np.eye(len(references))
        gram += 1e-9 * np.trace(gram) * one
        v = quadprog.solve_qp(
            gram, -references @ gradient, one, np.full(len(one), self.memory_strength)
        )[0]
        return torch.from_numpy(gradient + v @ references).float()


@pytest.fixture
def _weights_are_copied(monkeypatch):
    """Avalanche's SI keeps views of the live weights, so that nothing ever seems to move."""

    def extract(model, target, excluded):
        for name, parameter in model.named_parameters():
            target[name].data = parameter.detach().flatten().clone()

    monkeypatch.setattr(
        plugins.SynapticIntelligencePlugin, "extract_weights", staticmethod(extract)
    )


CASES = {
    "none": ({}, 3, lambda: []),
    "ewc": ({"strength": 40.0, "num_samples": TASK}, 3, lambda: [EWC(20.0)]),
    "mas": ({"strength": 0.05, "num_samples": TASK}, 3, lambda: [MAS(0.05, 0.5)]),
    "si": ({"strength": 0.5, "damping": 0.1}, 2, lambda: [SI(1.0, eps=0.1)]),
    "lwf": ({"strength": 1.0, "temperature": 2.0}, 3, lambda: [plugins.LwFPlugin(4.0, 2.0)]),
    "gem": ({"patterns": TASK, "strength": 0.5}, 3, lambda: [GEM(TASK, 0.5)]),
    "agem": ({"slots": TASK, "draw": TASK}, 2, lambda: [plugins.AGEMPlugin(TASK, TASK)]),
    "replay": (
        {"slots": TASK, "weight": 1.0},
        2,
        lambda: [plugins.ReplayPlugin(TASK, batch_size=TASK, batch_size_mem=TASK)],
    ),
}
"""Our options, tasks, Avalanche's plugins."""


def ours(strategy, tasks):
    options, _, _ = CASES[strategy]
    classes = 2 * tasks
    training, test = subset("train", PER_CLASS, classes), subset("test", 30, classes)
    scenario = make_scenario("domain", range(classes), tasks)
    stream = make_task_stream(
        np.asarray(training.labels), np.asarray(test.labels), range(classes), scenario
    )

    made = getattr(strategies, strategy)(**options)
    held = made._replace(
        after_task=lambda problem, *given: made.after_task(EveryDraw(*problem), *given)
    )
    model = end_to_end(dense_layers(HIDDEN), scenario.num_labels)
    schedule = TaskSchedule(STEPS, TASK, passes=STEPS)
    key = jax.random.key(0)
    config = ContinualConfig(model, scenario, held, optax.sgd(LEARNING_RATE), schedule)
    result = jax.jit(lambda: run_tasks(config, key, TaskData(stream, training, test)))()
    key_init, _ = jax.random.split(key)
    start, _ = model.init(key_init, training.scaled(training.images[:1]))
    return start, result, (training, test), stream


def theirs(strategy, start, samples, stream):
    _, _, make_plugins = CASES[strategy]
    model = torch_network(start)

    def by_task(part, rows, counts):
        images, labels = np.asarray(part.scaled(part.images)), np.asarray(part.labels)
        for row, count in zip(np.asarray(rows), np.asarray(counts), strict=True):
            yield torch.tensor(images[row[:count]]), torch.tensor(labels[row[:count]] % 2).long()

    training, test = samples
    datasets = by_task(training, stream.train, stream.num_train)
    tested = list(by_task(test, stream.test, stream.num_test))
    benchmark = benchmark_from_datasets(
        train=[make_dataset(x, y, task_labels=0) for x, y in datasets]
    )
    learner = Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), LEARNING_RATE),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=TASK,
        train_epochs=STEPS,
        plugins=make_plugins(),
        evaluator=None,
    )
    accuracies = []
    for experience in benchmark.train_stream:
        learner.train(experience)
        with torch.no_grad():
            accuracies.append([(model(x).argmax(1) == y).float().mean().item() for x, y in tested])
    return np.array(accuracies), [p.detach().numpy() for p in model.parameters()]


def arrays(modules):
    """Weights and, of the readout, bias, as PyTorch orders them."""
    found = []
    for layer in modules[0]:
        found.append(np.asarray(layer["kernels"]["input"]).T)
        if "bias" in layer:
            found.append(np.asarray(layer["bias"]))
    return found


def torch_network(start):
    """The same network with the same weights."""
    weights = arrays(start)
    (units, features), (labels, _), _ = (w.shape for w in weights)
    network = torch.nn.Sequential(
        torch.nn.Linear(features, units, bias=False),
        torch.nn.ReLU(),
        torch.nn.Linear(units, labels),
    )
    for parameter, weight in zip(network.parameters(), weights, strict=True):
        parameter.data = torch.tensor(np.ascontiguousarray(weight))
    return network


@pytest.mark.usefixtures("_weights_are_copied")
@pytest.mark.parametrize("strategy", CASES)
def test_weights_and_accuracies_are_avalanches(strategy):
    tasks = CASES[strategy][1]
    start, result, samples, stream = ours(strategy, tasks)
    accuracies, weights = theirs(strategy, start, samples, stream)
    for mine, other in zip(arrays(result.run.train.modules), weights, strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-3)
    np.testing.assert_allclose(result.accuracy[1:, 0], accuracies, atol=0.02)


def test_each_strategy_changes_the_weights():
    """Or the comparison above would say nothing about it."""
    for strategy in CASES:
        if strategy == "none":
            continue
        tasks = CASES[strategy][1]
        plain, held = (ours(name, tasks)[1].run.train.modules for name in ("none", strategy))
        moved = max(
            float(jnp.abs(a - b).max())
            for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(held), strict=True)
        )
        assert moved > 0.02, strategy
