"""The compiled programs of the estimators: draw weights, train one pass, score rows.

Hyperparameters that are numbers, label codes and data are traced arguments, and data is padded to
few sizes. A search over learning rates, or a stream of batches, therefore compiles few programs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.bodies import Params
from sffa_jax.core.negatives import hard, uniform
from sffa_jax.core.network import Network, NetworkParams, activities
from sffa_jax.core.overlays import Overlay
from sffa_jax.core.rules import LocalRule
from sffa_jax.data.arrays import next_power_of_two
from sffa_jax.training.learner import Learner
from sffa_jax.training.local import LayerState, LocalState, local_learner

CHUNK = 256
"""Number of rows scored at once. Chunks are padded to it: one program serves any number of rows,
and the result of a row does not depend on the other rows."""

Numbers = dict[str, Any]
"""The rule's numeric hyperparameters by name; traced."""

Layers = tuple[LayerState, ...]


class Design(NamedTuple):
    """The static choices that programs are compiled for."""

    rule: Callable[..., LocalRule]
    hidden: tuple[int, ...]
    activation: str
    winners: int | None
    negatives: str
    loss: str


class Codes(NamedTuple):
    """The label codes, padded with zeros, so that new classes do not change their shape.

    Attributes:
      values: code of each class.
      number: of classes that can be labels; at least 2.
    """

    values: Float[Array, "capacity code"]
    number: Int[Array, ""] | int


def make_network(design: Design, numbers: Numbers, codes: Codes) -> Network:
    """Return the network whose overlay appends the label codes to the features."""
    rule = design.rule(loss=design.loss, **numbers)
    layers = dense_layers(design.hidden, activation=design.activation, winners=design.winners)
    capacity = codes.values.shape[0]
    if design.negatives == "all":
        loss = rule.loss

        def loss_of_classes(logits: Array, targets: Array) -> Array:
            present = (jnp.arange(capacity) < codes.number)[None]
            return loss(logits, targets, allowed=jnp.broadcast_to(present, logits.shape))

        rule = rule._replace(loss=loss_of_classes)
    return Network(layers, rule, lambda *_: Overlay(appended=codes.values), capacity)


def make_learner(
    design: Design, numbers: Numbers, codes: Codes, rate: Any = 1.0, alpha: Any = 0.0
) -> Learner:
    """Return the learner with AdamW, which decays kernels only."""
    optimizer = optax.adamw(
        rate, weight_decay=alpha, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
    )

    def draw(key: Array, labels: Array, capacity: int, scores: Callable[[], Array]) -> Array | None:
        if design.negatives == "all":
            return None
        if design.negatives == "uniform":
            return uniform(key, labels, codes.number, scores)
        present = (jnp.arange(capacity) < codes.number)[None]
        return hard(key, labels, capacity, lambda: jnp.where(present, scores(), -jnp.inf))

    return local_learner(make_network(design, numbers, codes), optimizer, negatives=draw)


@partial(jax.jit, static_argnames="design")
def init_layers(
    design: Design,
    numbers: Numbers,
    codes: Codes,
    key: Key[Array, ""],
    x: Float[Array, "1 features"],
) -> Layers:
    """Draw the weights of all layers."""
    layers: Layers = make_learner(design, numbers, codes).init(key, x).layers
    return layers


@partial(jax.jit, static_argnames="design")
def train_pass(
    design: Design,
    numbers: Numbers,
    codes: Codes,
    rate: Any,
    alpha: Any,
    layers: Layers,
    key: Key[Array, ""],
    x: Float[Array, "samples features"],
    labels: Int[Array, " samples"],
    batches: Int[Array, "capacity batch"],
    steps: Int[Array, ""],
    epoch: Int[Array, ""],
) -> tuple[Layers, Float[Array, " layers"]]:
    """Train on the first `steps` batches of rows; also return the mean loss per layer, in nats.

    The number of steps is traced and samples and batches are padded, so that one program serves
    many sizes.
    """
    learner = make_learner(design, numbers, codes, rate, alpha)
    key = jax.random.fold_in(key, epoch)

    def step(i: Array, carry: tuple[LocalState, Array]) -> tuple[LocalState, Array]:
        state, total = carry
        key_step, rows = jax.random.fold_in(key, i), batches[i]
        state, losses = learner.step(state, key_step, x[rows], labels[rows])
        return state, total + losses

    initial = (
        LocalState(layers, Overlay(appended=codes.values), jnp.int32(0)),
        jnp.zeros(len(layers)),
    )
    state, total = jax.lax.fori_loop(0, steps, step, initial)
    return state.layers, total / steps


@partial(jax.jit, static_argnames="design")
def score_rows(
    design: Design,
    numbers: Numbers,
    codes: Codes,
    layers: tuple[Params, ...],
    x: Float[Array, "rows features"],
    num_seen: Int[Array, ""],
) -> tuple[Float[Array, "rows classes"], Float[Array, "rows units"]]:
    """Return label scores (-inf for classes not seen yet) and hidden activities of rows.

    A score is the sum of the layers' logits. The activities of all layers are concatenated, under
    the label with the highest score.
    """
    network = make_network(design, numbers, codes)
    hidden = list(activities(network, NetworkParams(layers, Overlay(appended=codes.values)), x))
    logits = jnp.stack([network.rule.score(network.rule.logit(h)) for h in hidden])
    total = jnp.sum(logits, axis=0)
    scores = jnp.where(jnp.arange(network.num_classes)[None] < num_seen, total, -jnp.inf)
    best = jnp.argmax(scores, axis=-1)[:, None, None]
    predicted = [jnp.take_along_axis(h, best, axis=1)[:, 0] for h in hidden]
    return scores, jnp.concatenate(predicted, axis=-1)


def pad_rows(array: np.ndarray, minimum: int) -> Array:
    """Append rows of zeros up to a power of two of at least `minimum`."""
    length = max(minimum, next_power_of_two(len(array)))
    return jnp.asarray(np.pad(array, [(0, length - len(array))] + [(0, 0)] * (array.ndim - 1)))
