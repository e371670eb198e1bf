"""The interface between an algorithm and every training loop, sweep and experiment."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.extend.core import get_opaque_trace_state
from jaxtyping import Array

from sffa_jax.checks import check_type, reject, reject_type
from sffa_jax.core.network import scored_layers
from sffa_jax.data.arrays import to_labels

State = Any
"""A pytree of arrays: parameters and optimizer states."""


class Learner(NamedTuple):
    """A classifier that learns from batches, as pure functions; the first three are required.

    Attributes:
      init: (key, x [batch, *input]) -> state, for inputs of that shape.
      step: (state, key, x [batch, *input], labels [batch]) -> (state, losses [layers]): one
        update; losses in nats, averaged over the batch, from before the update.
      scores: (state, x [batch, *input]) -> [layers, batch, classes]: contribution of each layer
        to the score of each label. A network trained end to end counts as one layer.
      num_classes: number of labels.
      first_scored, last_scored: the first and the last layer whose score counts in the prediction;
        None: the top layer.
      build: (optimizer=...) -> this learner with another optimizer, described in saved files. None:
        a saved state can be loaded only by passing the learner to `saved.load`.
      restart: (trained state) -> a state with the same weights and new states of the optimizers,
        also if `state` is that of another optimizer. None: not defined.
      latents: (state, x [batch, *input]) -> activity of each hidden layer, [batch, units]; the
        input of a forward-only network contains the label that it predicts. None: not defined.
    """

    init: Callable[[Array, Array], State]
    step: Callable[[State, Array, Array, Array], tuple[State, Array]]
    scores: Callable[[State, Array], Array]
    num_classes: int
    first_scored: int = 0
    build: Callable[..., "Learner"] | None = None
    latents: Callable[[State, Array], list[Array]] | None = None
    last_scored: int | None = None
    restart: Callable[[State], State] | None = None

    @property
    def scored(self) -> slice:
        """The layers whose scores count in the prediction."""
        return scored_layers(self.first_scored, self.last_scored)


def is_traced() -> bool:
    """Returns whether the caller runs within `jax.jit`, `jax.vmap` or the like: a learner that is
    built there may contain traced numbers, which no cache of programs may keep."""
    with jax.core.eval_context():
        outside = get_opaque_trace_state(convention="nnx")
    return bool(get_opaque_trace_state(convention="nnx") != outside)


def check_learner(where: str, learner: Any) -> None:
    """Raises TypeError for a learner of another type."""
    advice = "`local_learner(network, optimizer)` returns one."
    check_type(where, "learner", learner, Learner, "be a learner", advice)


def check_optimizer(where: str, optimizer: Any) -> None:
    """Raises TypeError for an optimizer of another type."""
    advice = "`optax.adam(1e-3)` is one."
    if hasattr(optimizer, "gradient_transformation"):
        advice = "Of `optax.MultiSteps`, pass its `gradient_transformation()`."
    rule = "be an optax optimizer"
    check_type(where, "optimizer", optimizer, optax.GradientTransformation, rule, advice)


def check_state(where: str, state: Any, kind: type) -> None:
    """Raises TypeError for a state of another type, e.g. the whole result of `fit`."""
    advice = "`fit(...).state` is one."
    check_type(where, "state", state, kind, "be a state of this learner", advice)


def check_same_state(where: str, state: State, init: Callable[[], State]) -> None:
    """Raises ValueError unless a state has the structure, shapes and dtypes of those that `init`
    draws."""
    if _described(lambda: state) != _described(init):
        rule = "have the structure, shapes and dtypes of this learner's states"
        advice = "Pass `result.state` of `fit`, or `load(path, learner=learner).state`; after a "
        advice += "change of the optimizer, `learner.restart(state)`."
        raise reject(where, "state", rule, "the state of another network or optimizer", advice)


def _described(make: Callable[[], State]) -> tuple[object, list[tuple[tuple[int, ...], object]]]:
    """Returns the structure, the shapes and the dtypes of a state; nothing is computed."""
    structures = []

    def leaves() -> list[Array]:
        arrays, structure = jax.tree.flatten(make())
        structures.append(structure)
        return arrays

    shapes = jax.eval_shape(leaves)
    return structures[0], [(leaf.shape, leaf.dtype) for leaf in shapes]


def check_batch(where: str, x: Array, labels: Array, num_classes: int) -> None:
    """Raises unless a batch holds scaled images and one label each; a learner's `step` calls it.

    Dtypes, ranks and sizes are known while tracing; the range of labels only outside of `jit`.

    Raises:
      TypeError: for images that are not floats, or labels that are not integers.
      ValueError: for labels of another shape, or out of range.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        advice = "Call `train.scaled_images(images)` with the training samples."
        raise reject_type(where, "x", "be scaled images, floats", x.dtype, advice)
    check_label_array(where, labels, x.shape[0], num_classes)


def check_label_array(where: str, labels: Array, num_samples: int, num_classes: int) -> None:
    """Raises unless labels are integers of shape [num_samples] in [0, num_classes).

    Under `jit` and `vmap` and across processes, values are unknown and the range is not checked.
    """
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise reject_type(where, "labels", "be integers", labels.dtype, "Use `data.to_labels`.")
    if labels.shape != (num_samples,):
        rule, advice = f"have shape ({num_samples},)", "Use `data.to_labels`."
        raise reject(where, "labels", rule, f"shape {labels.shape}", advice)
    traced = isinstance(labels, jax.core.Tracer)
    if not traced and getattr(labels, "is_fully_addressable", True):  # NumPy's arrays are
        to_labels(labels, num_classes, where=where)
