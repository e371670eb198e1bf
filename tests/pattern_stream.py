"""A stream of three tasks: noisy copies of six patterns, two classes a task; and runs over it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from unchecked import no_shape_checks

from sffa_jax.continual import runner
from sffa_jax.continual.runner import ContinualConfig, TaskSchedule
from sffa_jax.continual.scenarios import Scenario, TaskData, make_task_stream
from sffa_jax.training.samples import make_samples

SHAPE = (4, 4)
LABELS = np.arange(90, dtype=np.int32) % 6
PATTERNS = np.random.default_rng(0).integers(0, 200, (6, *SHAPE))
IMAGES = (PATTERNS[LABELS] + np.random.default_rng(1).integers(0, 56, (90, *SHAPE))).astype(
    np.uint8
)
SAMPLES = make_samples(IMAGES, LABELS, num_classes=6, mean=0.4, std=0.25)
KEY = jax.random.key(0)


def run_all(kind, model, strategy, steps=20, *, evaluate=True):
    """A run's states after each task, and its accuracies."""
    scenario, schedule = Scenario(kind, 3, 2), TaskSchedule(steps, 10, 10)
    config = ContinualConfig(model, scenario, strategy, optax.adam(1e-2), schedule)
    data = TaskData(make_task_stream(LABELS, LABELS, range(6), scenario), SAMPLES, SAMPLES)

    def learn(run, task):
        run = runner.start_task(config, run, task, data)
        run, losses = runner.train_steps(config, run, task, jnp.arange(steps), data)
        run = runner.end_task(config, run, task, data)
        accuracy = runner.evaluate_run(config, run, task, data) if evaluate else None
        return run, (run.train, accuracy, losses)

    @jax.jit
    def whole(key):
        return jax.lax.scan(learn, runner.start_run(config, key, data), jnp.arange(3))[1]

    states, accuracies, losses = whole(KEY)
    assert np.all(np.isfinite(losses))
    with no_shape_checks():  # arrays of NumPy need no programs
        states = jax.tree.map(np.asarray, states)
        return [jax.tree.map(lambda x, i=i: x[i], states) for i in range(3)], np.asarray(accuracies)
