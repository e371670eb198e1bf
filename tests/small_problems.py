"""Continual problems so small that what a strategy does can be written down."""

import jax
import jax.numpy as jnp
import numpy as np

from sffa_jax.continual.model import Model, softmax_loss
from sffa_jax.continual.problem import Problem
from sffa_jax.continual.scenarios import Scenario, make_task_stream
from sffa_jax.training.samples import make_samples

CURVATURES = (np.array([1.0, 0.5, 2.0]), np.array([0.3, 1.5, 0.1]))
"""Two modules of three parameters, each with a quadratic loss of its own."""

NUM_TASKS = 3
LABELS = np.arange(24, dtype=np.int32) % 6
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 1, 3)).astype(np.uint8)
KEY = jax.random.key(0)


def quadratic_model():
    """Module k: outputs w - x; loss 1/2 sum_i a_ki (w_ki - x_i)^2."""

    def init(key, x):
        del key, x
        return ({"w": jnp.array([0.5, -1.0, 2.0])}, {"w": jnp.array([1.0, 0.0, -0.5])}), None

    def logits(modules, overlay, x, candidates):
        del overlay, candidates
        return jnp.stack([module["w"][None] - x for module in modules])

    def loss(logits, targets, allowed):
        del targets, allowed
        a = jnp.array(CURVATURES, logits.dtype)
        return 0.5 * jnp.sum(a[:, None] * jnp.square(logits), axis=-1)

    return Model(init, logits, loss, lambda scores: scores)


def linear_model(num_labels):
    """One module, a linear classifier: outputs x W."""

    def init(key, x):
        return ({"w": jax.random.normal(key, (x.shape[-1], num_labels))},), None

    def logits(modules, overlay, x, candidates):
        every = x @ modules[0]["w"]
        if candidates is not None:
            every = jnp.take_along_axis(every, candidates, axis=-1)
        return every[None]

    return Model(init, logits, softmax_loss, lambda scores: scores)


def make_problem(kind="class", model=None):
    scenario = Scenario(kind, NUM_TASKS, 2)
    samples = make_samples(IMAGES, LABELS, num_classes=6, mean=0.5, std=0.25)
    stream = make_task_stream(LABELS, LABELS, range(6), scenario)
    model = model or linear_model(scenario.num_labels)
    return Problem(scenario, model, None, samples, stream)


def modules_of(problem):
    return problem.model.init(jax.random.key(3), problem.samples.scaled(problem.samples.images))[0]


def all_of(problem, now=2):
    return problem.batch(jnp.arange(24), jnp.int32(now))


def after_two_tasks(strategy, problem):
    """Memory after tasks 0 and 1, which end at two known places."""

    @jax.jit
    def run():
        start = modules_of(problem)
        ends = [jax.tree.map(lambda w, s=s: s * w + 0.1, start) for s in (0.5, 2.0)]
        memory = strategy.init(problem, start)
        for now, end in enumerate(ends):
            key = jax.random.fold_in(KEY, now)
            memory = strategy.after_task(problem, memory, key, end, jnp.int32(now))
        return memory, ends

    return run()
