"""Averages of weights over updates."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Int

from sffa_jax.checks import check_range
from sffa_jax.training.learner import Learner, State, check_state

OPTIMIZER = "opt_state"
"""Field of a learner's state that is not averaged."""


class AveragedState(struct.PyTreeNode):
    """A learner in training, and its averages.

    Attributes:
      state: of the learner; updates use it.
      average: the same without optimizer states; scores use it.
      updates: number of updates so far.
    """

    state: State
    average: State
    updates: Int[Array, "*runs"]

    @property
    def params(self) -> Any:
        """The averaged parameters."""
        return self.average.params

    @property
    def body_states(self) -> Any:
        """The averaged states of the layers' bodies; of end-to-end learners only."""
        return self.average.body_states


def averaged(learner: Learner, decay: float | Array) -> Learner:
    """Returns a learner that trains like `learner` and predicts with averages of its weights.

    After each update, average = d average + (1 - d) weights, with d = min(decay, (1 + n) / (10 +
    n)) after n updates, so that the drawn weights are soon forgotten. The running statistics of
    batch normalization are averaged alike: they are those of the networks that are averaged. What
    is no float, such as counters, is that of the last update.

    Args:
      learner: any learner.
      decay: between 0 and 1; 0.999 averages about the last thousand updates.

    Raises:
      ValueError: for a number out of range.

    Reference: Polyak & Juditsky 1992; the warm-up is that of TensorFlow's
    ExponentialMovingAverage.

    >>> import optax
    >>> from sffa_jax.core.architectures import dense_layers
    >>> from sffa_jax.training.backprop import backprop_learner
    >>> learner = averaged(backprop_learner(dense_layers([4]), 3, optax.adam(1e-3)), 0.99)
    >>> state = learner.init(jax.random.key(0), jnp.ones((1, 5)))
    >>> learner.scores(state, jnp.ones((2, 5))).shape
    (1, 2, 3)
    """
    check_range("averaged", "decay", decay, above=0, at_most=1)

    def start(state: State) -> AveragedState:
        return AveragedState(state, jax.tree.map(_wide, _evaluated(state)), jnp.int32(0))

    def init(key: Array, x: Array) -> AveragedState:
        return start(learner.init(key, x))

    def restart(state: AveragedState) -> AveragedState:
        check_state("averaged", state, AveragedState)
        assert learner.restart is not None
        return start(learner.restart(averages(state)))  # from the weights that predict

    def step(state: AveragedState, key: Array, x: Array, labels: Array) -> tuple[Any, Array]:
        new, losses = learner.step(state.state, key, x, labels)
        count = state.updates + 1
        rate = jnp.minimum(decay, (1 + count) / (10 + count))

        def mean(old: Array, now: Array) -> Array:
            if not jnp.issubdtype(now.dtype, jnp.floating):
                return now
            return old + (1 - rate).astype(old.dtype) * (now.astype(old.dtype) - old)

        average = jax.tree.map(mean, state.average, _evaluated(new))
        return AveragedState(new, average, count), losses

    def averages(state: AveragedState) -> State:
        check_state("averaged", state, AveragedState)
        weights = _evaluated(state.state)
        return jax.tree.map(_of_dtype, state.average, weights)

    def scores(state: AveragedState, x: Array) -> Array:
        return learner.scores(averages(state), x)

    def latents(state: AveragedState, x: Array) -> list[Array]:
        assert learner.latents is not None
        return learner.latents(averages(state), x)

    return learner._replace(
        init=init,
        step=step,
        scores=scores,
        build=None if learner.build is None else partial(_build, learner.build, decay),
        latents=None if learner.latents is None else latents,
        restart=None if learner.restart is None else restart,
    )


def _build(build: Any, decay: float | Array, **changes: Any) -> Learner:
    return averaged(build(**changes), decay)


def _wide(leaf: Array) -> Array:
    """A float of 16 bits as float32: it would lose the small steps of an average."""
    short = jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype.itemsize < 4
    return leaf.astype(jnp.float32) if short else leaf


def _of_dtype(mean: Array, now: Array) -> Array:
    return mean if mean.dtype == now.dtype else mean.astype(now.dtype)  # random keys have no cast


def _evaluated(state: State) -> State:
    """The state without the arrays of optimizers."""

    def keep(path: tuple[Any, ...], leaf: Array) -> Array | None:
        names = [getattr(key, "name", None) for key in path]
        return None if OPTIMIZER in names else leaf

    return jax.tree_util.tree_map_with_path(keep, state)
