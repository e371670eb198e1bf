"""Layer-local learning: the gradient of each layer's loss updates that layer only."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from sffa_jax.checks import check_function, check_range, check_type, choose, reject
from sffa_jax.core.bodies import BodyState, Params
from sffa_jax.core.layer import activity, passed_on, training_activity
from sffa_jax.core.losses import sample_losses
from sffa_jax.core.negatives import (
    NEGATIVES,
    Negatives,
    check_candidates,
    targets,
    try_negatives,
)
from sffa_jax.core.network import (
    SECOND_TERM,
    Network,
    NetworkParams,
    candidate_logits,
    hidden_activities,
    init_network,
    layer_scores,
)
from sffa_jax.core.overlays import Overlay, Part, parts
from sffa_jax.training.adversarial import perturb
from sffa_jax.training.learner import Learner, check_batch, check_optimizer, check_state
from sffa_jax.training.update_order import UPDATE_ORDERS, LayerUpdates, Update, UpdateOrder

Optimizers: TypeAlias = optax.GradientTransformation | Sequence[optax.GradientTransformation]
"""One optimizer for all layers, or one for each."""


class LayerState(struct.PyTreeNode):
    """A layer in training.

    Attributes:
      params: of the layer; trained.
      opt_state: of its optimizer.
      body_state: of its body, e.g. running statistics; without arrays for most bodies.
    """

    params: Params
    opt_state: optax.OptState
    body_state: BodyState = ()


class LocalState(struct.PyTreeNode):
    """A forward-only network in training.

    Attributes:
      layers: state of each layer.
      overlay: drawn once, never trained.
      step: number of updates so far.
    """

    layers: tuple[LayerState, ...]
    overlay: Overlay
    step: Int[Array, "*runs"]

    @property
    def params(self) -> NetworkParams:
        """The network's parameters, for `network.label_scores` and the like."""
        return NetworkParams(
            tuple(layer.params for layer in self.layers),
            self.overlay,
            tuple(layer.body_state for layer in self.layers),
        )


class LayerInfo(NamedTuple):
    """Values of a layer before its update.

    Attributes:
      loss: [batch] the rule's local loss, nats, without its second term.
      logits: [batch, candidates].
      activity: [batch, candidates (1 if no input depends on the label), *units] that the next layer
        receives.
      body_state: state of the layer's body after this batch.
      second_loss: [batch] the weighted second term of the rule, in training; else None.
    """

    loss: Float[Array, " batch"]
    logits: Float[Array, "batch candidates"]
    activity: Float[Array, "batch one_or_candidates *units"]
    body_state: BodyState = ()
    second_loss: Float[Array, " batch"] | None = None

    @property
    def mean_loss(self) -> Float[Array, ""]:
        """What the layer's update minimizes."""
        mean = jnp.mean(self.loss)
        return mean if self.second_loss is None else mean + jnp.mean(self.second_loss)


def layer_loss(
    network: Network,
    k: int,
    params: Params,
    inputs: Sequence[Part],
    candidates: Int[Array, "batch candidates"] | None,
    is_target: Bool[Array, "batch candidates"],
    body_state: BodyState = (),
    *,
    train: bool = False,
    key: Key[Array, ""] | None = None,
) -> LayerInfo:
    """The local loss of layer k: a function of that layer's parameters and its input.

    Args:
      network, k: the layer.
      params, body_state: of the layer.
      inputs, candidates: of the layer.
      is_target: marks the true label among the candidates.
      train: whether the body trains: statistics of the batch, dropped units. Otherwise the loss of
        a sample depends on others only by the rule's activity factor, a mean over the batch.
      key: from `Layer.key`; only in training.
    """
    rule, layer = network.rule, network.layers[k]
    if train:
        h, body_state = training_activity(layer, params, body_state, inputs, candidates, key)
    else:
        h = activity(layer, params, inputs, candidates, body_state)
    logits = candidate_logits(network, params, h, candidates)
    loss = sample_losses(rule.loss, logits, is_target)
    if rule.activity_factor is not None:
        loss = loss * rule.activity_factor(h, is_target)
    second = None
    if train and rule.second_term is not None:
        second = second_loss(network, params, h, candidates, is_target)
    return LayerInfo(loss, logits, passed_on(layer, h, key), body_state, second)


def second_loss(
    network: Network,
    params: Params,
    h: Float[Array, "batch one *units"],
    candidates: Int[Array, "batch candidates"] | None,
    is_target: Bool[Array, "batch candidates"],
) -> Float[Array, " batch"]:
    """The weighted second term of a layer's loss; its rule has one."""
    term = network.rule.second_term
    assert term is not None
    labels = jnp.argmax(is_target, axis=-1)
    if candidates is not None:
        labels = jnp.take_along_axis(candidates, labels[:, None], axis=-1)[:, 0]
    head = params.get(SECOND_TERM)
    return term.weight * term.loss(head, h[:, 0], labels, network.num_classes)


def layer_step(
    network: Network,
    k: int,
    optimizer: optax.GradientTransformation,
    state: LayerState,
    inputs: Sequence[Part],
    candidates: Int[Array, "batch candidates"] | None,
    is_target: Bool[Array, "batch candidates"],
    key: Key[Array, ""] | None = None,
) -> tuple[LayerState, LayerInfo]:
    """Updates layer k; differentiates only the parameters of this layer.

    `key` is from `Layer.key`; the other arguments are those of `layer_loss`.
    """

    def mean_loss(params: Params) -> tuple[Array, LayerInfo]:
        batch = inputs, candidates, is_target, state.body_state
        info = layer_loss(network, k, params, *batch, train=True, key=key)
        return info.mean_loss, info

    (loss, info), gradient = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    optimizer = optax.with_extra_args_support(optimizer)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params, value=loss)
    params = optax.apply_updates(state.params, updates)
    return LayerState(params, opt_state, info.body_state), info


def by_layer(network: Network, optimizer: Optimizers) -> tuple[optax.GradientTransformation, ...]:
    """Returns one optimizer for each layer of a network.

    Raises:
      TypeError: for anything else.
      ValueError: for a sequence of another length.
    """
    number = len(network.layers)
    if isinstance(optimizer, optax.GradientTransformation):
        return (optimizer,) * number
    for one in optimizer if isinstance(optimizer, Sequence) else [optimizer]:
        check_optimizer("local_learner", one)
    if len(optimizer) != number:
        wanted = f"be one, or one for each of the {number} layers"
        raise reject("local_learner", "optimizer", wanted, len(optimizer))
    return tuple(optimizer)


def local_learner(
    network: Network,
    optimizer: Optimizers,
    *,
    negatives: str | Negatives = "uniform",
    update_order: str | Update | UpdateOrder = "simultaneous",
    adversarial: float | Array | None = None,
) -> Learner:
    """Returns a learner that trains each layer of a network by a local loss.

    Args:
      network: layers, rule and overlay.
      optimizer: each layer has a separate state of it, and schedules count the updates of that
        layer; or a sequence of optimizers, one per layer. An optimizer that needs the loss, such as
        `optax.contrib.reduce_on_plateau`, gets the layer's mean loss of the batch.
      negatives: "uniform", "hard", "all", or a function of the signature in `negatives`. Hard
        negatives use the scores of those scored layers that have started to learn.
      update_order: "simultaneous", "sequential", `update_order.greedy(steps_per_layer)`, or a
        function of the signature `update_order.Update`.
      adversarial: length of a step on the images that increases the loss of the *first* layer, see
        `adversarial.perturb`; no gradient crosses a layer. It is the loss of scoring, with running
        statistics and all units. None: no step.

    In an update, layers use the statistics of the batch and drop units; the next layer receives the
    activity of that same pass. `scores` uses running statistics and all units.

    Raises:
      TypeError: for a network or an optimizer of another type, or negatives of another signature.
      ValueError: for an unknown name, a distance that is not positive, a wrong number of
        optimizers, or negatives that are no labels or the true one (tried on some labels).

    >>> from sffa_jax.core import architectures, overlays, rules
    >>> layers = architectures.dense_layers([8, 8])
    >>> network = Network(layers, rules.sffa(), overlays.appended_gaussian(size=4), num_classes=3)
    >>> learner = local_learner(network, optax.adam(1e-3))
    >>> x, labels = jnp.ones((2, 5)), jnp.array([0, 2])
    >>> state = jax.jit(learner.init)(jax.random.key(0), x)
    >>> state, losses = jax.jit(learner.step)(state, jax.random.key(1), x, labels)
    >>> losses.shape  # one loss per layer
    (2,)
    """
    advice = "`backprop_learner` takes layers."
    check_type("local_learner", "network", network, Network, "be a `Network`", advice)
    choose_negatives = choose("local_learner", "negatives", negatives, NEGATIVES)
    takes = "key, labels, num_classes, scores"
    check_function("local_learner", "negatives", choose_negatives, takes)
    if choose_negatives not in NEGATIVES.values():
        try_negatives("local_learner", choose_negatives, network.num_classes)
    order = update_order
    if not isinstance(order, UpdateOrder):
        order = UpdateOrder(choose("local_learner", "update_order", order, UPDATE_ORDERS))
        takes = "updates, states, step"
        check_function("local_learner", "update_order", order.update, takes)
    optimizers = by_layer(network, optimizer)
    if adversarial is not None:
        check_range("local_learner", "adversarial", adversarial, above=0, advice="None: no step.")

    def init(key: Array, x: Array) -> LocalState:
        params = init_network(network, key, x[:1])
        layers = tuple(
            LayerState(p, optimizer.init(p), state)
            for optimizer, (p, state) in zip(optimizers, params.of_layers(), strict=True)
        )
        return LocalState(layers, params.overlay, jnp.int32(0))

    def step(state: LocalState, key: Array, x: Array, labels: Array) -> tuple[LocalState, Array]:
        check_batch("local_learner.step", x, labels, network.num_classes)
        _check_state(network, state)

        def label_scores() -> Array:
            return jnp.sum(scores(state, x)[network.scored], axis=0)

        # A function of the user's may split its key, whose parts are those that `fold_in` gives.
        own = key if choose_negatives in NEGATIVES.values() else jax.random.fold_in(key, 0)
        candidates = choose_negatives(own, labels, network.num_classes, label_scores)
        check_candidates("local_learner", candidates, len(labels))
        is_target = targets(candidates, labels, network.num_classes)
        if adversarial is not None:
            # The factor is a mean over the batch: a sample's step must not depend on others.
            rule = network.rule._replace(activity_factor=None)
            alone = dataclasses.replace(network, rule=rule)

            def first_loss(x: Array) -> Array:
                inputs, first = parts(state.overlay, x), state.layers[0]
                batch = inputs, candidates, is_target, first.body_state
                return layer_loss(alone, 0, first.params, *batch).loss

            x = perturb(first_loss, x, adversarial)

        def update(k: int, layer: LayerState, inputs: Sequence[Part]) -> tuple:
            batch = inputs, candidates, is_target, network.layers[k].key(key, k)
            return layer_step(network, k, optimizers[k], layer, *batch)

        updates = LayerUpdates(network, update, parts(state.overlay, x), candidates, key)
        layers, losses = order.update(updates, state.layers, state.step)
        return LocalState(layers, state.overlay, state.step + 1), losses

    def scores(state: LocalState, x: Array) -> Array:
        _check_state(network, state)
        all_scores = layer_scores(network, state.params, x)
        if order.has_started is None:
            return all_scores
        started = order.has_started(state.step, len(network.layers))
        return jnp.where(started[:, None, None], all_scores, 0.0)

    def restart(state: LocalState) -> LocalState:
        _check_state(network, state)
        layers = tuple(
            layer.replace(opt_state=optimizer.init(layer.params))
            for optimizer, layer in zip(optimizers, state.layers, strict=True)
        )
        return LocalState(layers, state.overlay, state.step)

    build = partial(
        local_learner,
        network=network,
        negatives=choose_negatives,
        update_order=order,
        adversarial=adversarial,
    )

    def latents(state: LocalState, x: Array) -> list[Array]:
        # Not `predict_labels`: a layer that has not started has no vote.
        labels = jnp.argmax(jnp.sum(scores(state, x)[network.scored], axis=0), axis=-1)
        return hidden_activities(network, state.params, x, labels)

    return Learner(
        init,
        step,
        scores,
        network.num_classes,
        first_scored=network.first_scored,
        build=build,
        latents=latents,
        last_scored=network.last_scored,
        restart=restart,
    )


def _check_state(network: Network, state: LocalState) -> None:
    """Raises TypeError or ValueError for a state that cannot be this network's."""
    check_state("local_learner", state, LocalState)
    number = len(network.layers)
    if len(state.layers) != number:
        advice = "Pass a state of this learner."
        raise reject("local_learner", "state", f"have {number} layers", len(state.layers), advice)
