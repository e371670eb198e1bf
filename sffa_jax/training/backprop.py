"""The baseline: the same layers trained end to end by backpropagation and cross-entropy."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float, Key

from sffa_jax.checks import check_integer, check_range
from sffa_jax.core.bodies import BodyState, Params
from sffa_jax.core.layer import (
    Layer,
    activity,
    check_layers,
    init_layer,
    passed_on,
    training_activity,
)
from sffa_jax.core.network import flat
from sffa_jax.core.overlays import Part
from sffa_jax.training.adversarial import perturb
from sffa_jax.training.learner import Learner, check_batch, check_optimizer, check_state


class BackpropState(struct.PyTreeNode):
    """A network in training.

    Attributes:
      params: one entry per layer, the readout last.
      opt_state: for all parameters.
      body_states: state of each layer's body; empty: no body has a state.
    """

    params: tuple[Params, ...]
    opt_state: optax.OptState
    body_states: tuple[BodyState, ...] = ()


def logits(
    layers: tuple[Layer, ...],
    params: tuple[Params, ...],
    x: Float[Array, "batch *input"],
    body_states: tuple[BodyState, ...] = (),
) -> Float[Array, "batch classes"]:
    """Returns the output of `layers`, whose last one is the readout; gradients flow throughout."""
    return _activities(layers, params, x, body_states)[-1]


def training_logits(
    layers: tuple[Layer, ...],
    params: tuple[Params, ...],
    x: Float[Array, "batch *input"],
    body_states: tuple[BodyState, ...],
    key: Key[Array, ""],
) -> tuple[Float[Array, "batch classes"], tuple[BodyState, ...]]:
    """Like `logits`, with statistics of the batch and dropped units; also returns the new states.

    `key` is the random key of the training step.
    """
    h, states = x, []
    for k, (layer, of_layer, state) in enumerate(_zip(layers, params, body_states)):
        layer_key = layer.key(key, k)
        inputs = (Part("input", h, "sample"),)
        h, state = training_activity(layer, of_layer, state, inputs, None, layer_key)
        h = passed_on(layer, h, layer_key)[:, 0]
        states.append(state)
    return h, tuple(states)


def hidden_activities(
    layers: tuple[Layer, ...],
    params: tuple[Params, ...],
    x: Float[Array, "batch *input"],
    body_states: tuple[BodyState, ...] = (),
) -> list[Float[Array, "batch units"]]:
    """Activity of each hidden layer, flat.

    Args:
      layers: the hidden layers.
      params, body_states: of these layers; further ones (the readout) are ignored.
      x: scaled images.
    """
    number = len(layers)
    hidden = _activities(layers, params[:number], x, body_states[:number])
    return [flat(h) for h in hidden]


def _zip(
    layers: tuple[Layer, ...], params: tuple[Params, ...], body_states: tuple[BodyState, ...]
) -> Iterator[tuple[Layer, Params, BodyState]]:
    return zip(layers, params, body_states or ((),) * len(layers), strict=True)


def _activities(
    layers: tuple[Layer, ...],
    params: tuple[Params, ...],
    x: Float[Array, "batch *input"],
    body_states: tuple[BodyState, ...],
) -> list[Array]:
    h, found = x, []
    for layer, of_layer, state in _zip(layers, params, body_states):
        h = activity(layer, of_layer, (Part("input", h, "sample"),), state=state)[:, 0]
        found.append(h)
    return found


def with_readout(layers: tuple[Layer, ...], num_classes: int) -> tuple[Layer, ...]:
    """Adds a linear readout to the hidden layers."""
    return (*layers, Layer(nn.Dense(num_classes), activation=lambda h: h))


def init_layers(
    layers: tuple[Layer, ...], key: Array, x: Array
) -> tuple[tuple[Params, ...], tuple[BodyState, ...]]:
    """Draws parameters and states of layers whose input contains no label."""
    h, params, states = x[:1], [], []
    for i, layer in enumerate(layers):
        inputs = (Part("input", h, "sample"),)
        layer_key = jax.random.fold_in(key, i)
        layer_params, state = init_layer(layer, layer_key, inputs, f"layers[{i}]")
        params.append(layer_params)
        states.append(state)
        h = activity(layer, layer_params, inputs, state=state)[:, 0]
    return tuple(params), tuple(states)


def backprop_learner(
    layers: tuple[Layer, ...],
    num_classes: int,
    optimizer: optax.GradientTransformation,
    *,
    label_smoothing: float | Array = 0.0,
    adversarial: float | Array | None = None,
) -> Learner:
    """A softmax classifier over `layers`, trained end to end; the input contains no label.

    Args:
      layers: the hidden layers, in the same form as in a forward-only network.
      num_classes: width of the linear readout on top.
      optimizer: for all parameters together; one that needs the loss gets the mean of the batch.
      label_smoothing: fraction of the target's mass that is spread evenly over all classes.
      adversarial: length of a step on the images that increases the loss, see
        `adversarial.perturb`; None: no step.

    Layers use the statistics of the batch and drop units in an update, and only there.

    Raises:
      TypeError: for layers or an optimizer of another type.
      ValueError: for fewer than 2 classes, a fraction outside [0, 1], or a distance that is not
        positive.

    >>> from sffa_jax.core.architectures import dense_layers
    >>> learner = backprop_learner(dense_layers([4]), 3, optax.adam(1e-3))
    >>> state = learner.init(jax.random.key(0), jnp.ones((1, 5)))
    >>> learner.scores(state, jnp.ones((2, 5))).shape  # layers, samples, classes
    (1, 2, 3)
    """
    check_layers("backprop_learner", layers)
    check_optimizer("backprop_learner", optimizer)
    check_integer("backprop_learner", "num_classes", num_classes, 2)
    check_range("backprop_learner", "label_smoothing", label_smoothing, at_least=0, at_most=1)
    if adversarial is not None:
        check_range("backprop_learner", "adversarial", adversarial, above=0)
    hidden_layers, layers = layers, with_readout(layers, num_classes)

    def init(key: Array, x: Array) -> BackpropState:
        params, states = init_layers(layers, key, x)
        return BackpropState(params, optimizer.init(params), states)

    def step(
        state: BackpropState, key: Array, x: Array, labels: Array
    ) -> tuple[BackpropState, Array]:
        check_batch("backprop_learner.step", x, labels, num_classes)
        check_state("backprop_learner", state, BackpropState)
        targets = optax.smooth_labels(jax.nn.one_hot(labels, num_classes), label_smoothing)
        if adversarial is not None:

            def losses(x: Array) -> Array:
                scores = logits(layers, state.params, x, state.body_states)
                return optax.softmax_cross_entropy(scores, targets)

            x = perturb(losses, x, adversarial)

        def mean_loss(params: tuple[Params, ...]) -> tuple[Array, tuple[BodyState, ...]]:
            scores, states = training_logits(layers, params, x, state.body_states, key)
            return jnp.mean(optax.softmax_cross_entropy(scores, targets)), states

        (loss, states), gradient = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
        updates, opt_state = optax.with_extra_args_support(optimizer).update(
            gradient, state.opt_state, state.params, value=loss
        )
        params = optax.apply_updates(state.params, updates)
        return BackpropState(params, opt_state, states), loss[None]

    def scores(state: BackpropState, x: Array) -> Array:
        check_state("backprop_learner", state, BackpropState)
        return logits(layers, state.params, x, state.body_states)[None]

    def restart(state: BackpropState) -> BackpropState:
        check_state("backprop_learner", state, BackpropState)
        return state.replace(opt_state=optimizer.init(state.params))

    build = partial(
        backprop_learner,
        hidden_layers,
        num_classes,
        label_smoothing=label_smoothing,
        adversarial=adversarial,
    )

    def latents(state: BackpropState, x: Array) -> list[Array]:
        return hidden_activities(hidden_layers, state.params, x, state.body_states)

    return Learner(init, step, scores, num_classes, build=build, latents=latents, restart=restart)
