"""The baseline: the same layers trained end to end by backpropagation and cross-entropy."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Float

from sffa_jax.checks import check_integer, check_range
from sffa_jax.core.layer import Layer, Params, activity, init_layer
from sffa_jax.core.overlays import Part
from sffa_jax.training.adversarial import perturb
from sffa_jax.training.learner import Learner, check_batch


class BackpropState(struct.PyTreeNode):
    """Attributes: params: one entry per layer, the read-out last; opt_state: for all parameters."""

    params: tuple[Params, ...]
    opt_state: optax.OptState


def logits(
    layers: tuple[Layer, ...], params: tuple[Params, ...], x: Float[Array, "batch *input"]
) -> Float[Array, "batch classes"]:
    """Returns the output of `layers`, whose last one is the read-out; gradients flow throughout."""
    h = x
    for layer, layer_params in zip(layers, params, strict=True):
        h = activity(layer, layer_params, (Part("input", h, "sample"),))[:, 0]
    return h


def hidden_activities(
    layers: tuple[Layer, ...], params: tuple[Params, ...], x: Float[Array, "batch *input"]
) -> list[Float[Array, "batch units"]]:
    """Activity of each hidden layer, flat.

    Args:
      layers: the hidden layers.
      params: parameters of these layers; further ones (the read-out) are ignored.
      x: scaled images.
    """
    h, hidden = x, []
    for layer, layer_params in zip(layers, params, strict=False):
        h = activity(layer, layer_params, (Part("input", h, "sample"),))[:, 0]
        hidden.append(h.reshape(x.shape[0], -1))
    return hidden


def with_read_out(layers: tuple[Layer, ...], num_classes: int) -> tuple[Layer, ...]:
    """Adds a linear read-out to the hidden layers."""
    return (*layers, Layer(nn.Dense(num_classes), activation=lambda h: h))


def init_layers(layers: tuple[Layer, ...], key: Array, x: Array) -> tuple[Params, ...]:
    """Draws parameters of layers whose input contains no label."""
    h, params = x[:1], []
    for i, layer in enumerate(layers):
        inputs = (Part("input", h, "sample"),)
        params.append(init_layer(layer, jax.random.fold_in(key, i), inputs))
        h = activity(layer, params[-1], inputs)[:, 0]
    return tuple(params)


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
      num_classes: width of the linear read-out on top.
      optimizer: for all parameters together.
      label_smoothing: fraction of the target's mass that is spread evenly over all classes.
      adversarial: length of a step on the images that increases the loss, see
        `adversarial.perturb`; None: no step.

    Raises:
      ValueError: for fewer than 2 classes, a fraction outside [0, 1], or a distance that is not
        positive.

    >>> from sffa_jax.core.architectures import dense_layers
    >>> learner = backprop_learner(dense_layers([4]), 3, optax.adam(1e-3))
    >>> state = learner.init(jax.random.key(0), jnp.ones((1, 5)))
    >>> learner.scores(state, jnp.ones((2, 5))).shape  # layers, samples, classes
    (1, 2, 3)
    """
    check_integer("backprop_learner", "num_classes", num_classes, 2)
    check_range("backprop_learner", "label_smoothing", label_smoothing, at_least=0, at_most=1)
    if adversarial is not None:
        check_range("backprop_learner", "adversarial", adversarial, above=0)
    hidden_layers, layers = layers, with_read_out(layers, num_classes)

    def init(key: Array, x: Array) -> BackpropState:
        params = init_layers(layers, key, x)
        return BackpropState(params, optimizer.init(params))

    def step(
        state: BackpropState, key: Array, x: Array, labels: Array
    ) -> tuple[BackpropState, Array]:
        del key
        check_batch("backprop_learner.step", x, labels, num_classes)
        targets = optax.smooth_labels(jax.nn.one_hot(labels, num_classes), label_smoothing)

        def losses(params: tuple[Params, ...], x: Array) -> Array:
            return optax.softmax_cross_entropy(logits(layers, params, x), targets)

        if adversarial is not None:
            x = perturb(lambda x: losses(state.params, x), x, adversarial)
        loss, gradient = jax.value_and_grad(lambda p: jnp.mean(losses(p, x)))(state.params)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        return BackpropState(optax.apply_updates(state.params, updates), opt_state), loss[None]

    def scores(state: BackpropState, x: Array) -> Array:
        return logits(layers, state.params, x)[None]

    build = partial(
        backprop_learner,
        hidden_layers,
        num_classes,
        label_smoothing=label_smoothing,
        adversarial=adversarial,
    )
    return Learner(init, step, scores, num_classes, build=build)
