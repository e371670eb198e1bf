"""One layer: a body (any function with parameters), an activation, and winners.

A layer processes many label candidates at once. An affine body (Dense, Conv) is applied to each
part of the input separately and the results are added. This saves most of the work, because all
candidates of a sample share the product of the image, and all samples share the product of a label.
Automatic differentiation saves the same work in the weight gradient.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float, Int, Key

from sffa_jax.checks import check_function, check_integer, check_range, choose, reject, reject_type
from sffa_jax.core.bodies import Body, BodyState, Params, apply_body, as_body, init_body
from sffa_jax.core.image_layout import POOLS, Grid, Pool, flatten_maps
from sffa_jax.core.overlays import Part
from sffa_jax.core.winners import keep_winners


@dataclass(frozen=True)
class Layer:
    """Configuration of a layer: body, normalization, activation, pooling, winners.

    Attributes:
      body: a Flax Linen module or a `Body` that maps [samples, d_in] to [samples, units], or under
        a `grid` [samples, height, width, channels] to maps of that form or to units. It may be a
        small block: its parameters are trained by the layer's one loss, so what is local is the
        block.
      activation: applied element-wise to the body's output.
      winners: units that stay active in each half; None keeps all.
      grid: shape of the images or maps that the body takes; None: it takes rows.
      pool: one of `POOLS`, or a function from maps to maps, applied after the activation; None:
        no pooling.
      normalization: a body that keeps the shape, e.g. `nn.BatchNorm()`, between an affine body and
        the activation; it follows the sum over the parts of the input. Other bodies normalize
        themselves. None: no normalization.
      dropout: fraction of the units that training drops from what is passed on to the next layer;
        the layer's own loss receives all units.

    Raises:
      TypeError: for an activation that is no function.
      ValueError: for no winner, an unknown name, pooling without a grid, a normalization of a body
        that is not affine, or a fraction outside [0, 0.99].

    >>> Layer(nn.Dense(8), winners=2).winners
    2
    """

    body: nn.Module | Body
    activation: Callable[[Array], Array] = jax.nn.relu
    winners: int | None = None
    grid: Grid | None = None
    pool: str | Pool | None = None
    normalization: nn.Module | Body | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.winners is not None:
            check_integer("Layer", "winners", self.winners, 1, "None keeps all units.")
        check_function("Layer", "activation", self.activation, "h", "`jax.nn.relu` is one.")
        if self.pool is not None:
            choose("Layer", "pool", self.pool, POOLS)
            if self.grid is None:
                raise reject("Layer", "grid", "be given with pooling", None)
        if self.normalization is not None and not is_affine(self.body):
            advice = "Normalize inside the body."
            raise reject(
                "Layer", "normalization", "be None unless the body is affine", "one", advice
            )
        check_range("Layer", "dropout", self.dropout, at_least=0, at_most=0.99)

    @property
    def _bodies(self) -> list[Body]:
        """The body, and the normalization if there is one."""
        return [as_body(body) for body in (self.body, self.normalization) if body is not None]

    @property
    def name(self) -> str:
        """Names of the body and the normalization, for tables."""
        return ", ".join(body.name for body in self._bodies)

    @property
    def has_modes(self) -> bool:
        """Whether training differs from scoring, as with batch normalization and dropout."""
        return bool(self.dropout) or any(body.has_modes for body in self._bodies)

    def key(self, key: Key[Array, ""], k: int | Int[Array, ""]) -> Key[Array, ""] | None:
        """The random key of this layer, number `k`, in a training step with `key`.

        None for a layer without modes, which draws no random number.
        """
        if not self.has_modes:
            return None
        return jax.random.fold_in(jax.random.fold_in(key, _LAYER_KEYS), k)


def check_layers(where: str, layers: Any) -> None:
    """Raises TypeError unless `layers` is a sequence of layers."""
    given = layers if isinstance(layers, Sequence) else [layers]
    others = [type(layer).__name__ for layer in given if not isinstance(layer, Layer)]
    if others or given is not layers:
        got = others[0] if others else "a single one"
        advice = "`dense_layers([200])` returns one."
        raise reject_type(where, "layers", "be a sequence of layers", got, advice)


_LAYER_KEYS = 2
"""Folded into a step's key; the step itself draws negatives, and augmentation folds 1."""


def is_affine(body: nn.Module | Body) -> bool:
    """Whether the body is a kernel product plus a bias, so that its input can be factored."""
    if type(body) is nn.Conv:
        return body.feature_group_count == 1
    return type(body) is nn.Dense


def join(
    inputs: Sequence[Part], candidates: Int[Array, "batch candidates"] | None
) -> Float[Array, "batch candidates *d_in"]:
    """The unfactored input: one row for each sample and candidate."""
    named: dict[str, Array] = {}
    for part in inputs:
        value = _per_candidate(part.value, part, candidates)
        named[part.name] = named[part.name] + value if part.name in named else value
    lead = jnp.broadcast_shapes(*(value.shape[:2] for value in named.values()))
    full = [jnp.broadcast_to(value, lead + value.shape[2:]) for value in named.values()]
    return jnp.concatenate(full, axis=-1) if len(full) > 1 else full[0]


def _body_inputs(layer: Layer, inputs: Sequence[Part]) -> tuple[Part, ...]:
    """The parts as rows for a body without a grid, and as images or maps for one with a grid."""

    def convert(part: Part) -> Array:
        lead = 2 if part.per == "candidate" else 1
        if layer.grid is not None:
            return layer.grid.read(part.value, lead)
        return flatten_maps(part.value) if part.value.ndim == lead + 3 else part.value

    return tuple(part._replace(value=convert(part)) for part in inputs)


def _per_candidate(
    value: Array, part: Part, candidates: Int[Array, "batch candidates"] | None
) -> Array:
    """Reshapes [samples or classes, ...] to [batch or 1, candidates or 1, ...]."""
    if part.per == "candidate":
        return value
    if part.per == "sample":
        return value[:, None]
    if candidates is None:
        return value[None]
    # A one-hot product instead of a gather, whose transpose is a slow scatter. One plain product,
    # because XLA copies operands for the transpose of a batched product.
    one_hot = jax.nn.one_hot(candidates.reshape(-1), value.shape[0], dtype=value.dtype)
    flat = one_hot @ value.reshape(value.shape[0], -1)
    return flat.reshape(*candidates.shape, *value.shape[1:])


def init_layer(
    layer: Layer, key: Key[Array, ""], inputs: Sequence[Part], name: str = "layer"
) -> tuple[Params, BodyState]:
    """Draws parameters and state of a layer for inputs of these shapes; values are not used.

    An affine body is initialized on the concatenated input, as if it were not factored, and its
    kernel is then split by rows, one piece per input name.

    Args:
      layer: configuration of the layer.
      key: draws the parameters.
      inputs: the factors of the input.
      name: of the layer, for messages.

    Raises:
      ValueError: if the body does not fit the input, see `bodies.init_body`.
    """
    names = {part.name for part in inputs}
    if layer.grid is not None and len(names) > 1:
        raise reject(
            "init_layer",
            "inputs",
            "be one image under a convolution, with the label written into it",
            ", ".join(sorted(names)),
            "Use an overlay that appends nothing, and no input skip.",
        )
    inputs = _body_inputs(layer, inputs)
    row = jax.eval_shape(lambda: join(inputs, None)[0, 0])
    affine = is_affine(layer.body)
    # Other bodies may split their key, whose parts are those that `fold_in` gives.
    body_key = key if affine else jax.random.fold_in(key, 0)
    body_params, state = init_body(name, as_body(layer.body), body_key, row)
    if not affine:
        return {"body": body_params}, state
    sizes = {part.name: part.value.shape[-1] for part in inputs}
    *edges, _ = accumulate(sizes.values())
    kernels = jnp.split(body_params["kernel"], edges, axis=-2)
    params = {"kernels": dict(zip(sizes, kernels, strict=True))}
    if "bias" in body_params:
        params["bias"] = body_params["bias"]
    if layer.normalization is not None:
        pre = jax.eval_shape(lambda p: _sum_of_products(layer, p, inputs, None)[0, 0], params)
        normalization = as_body(layer.normalization)
        key = jax.random.fold_in(key, 2)  # the network folds 1 for its class units
        params["normalization"], state = init_body(name, normalization, key, pre, same=True)
    return params, state


def activity(
    layer: Layer,
    params: Params,
    inputs: Sequence[Part],
    candidates: Int[Array, "batch candidates"] | None = None,
    state: BodyState = (),
) -> Float[Array, "batch one_or_candidates *units"]:
    """The layer's activity for each sample and each of its label candidates, as it scores.

    Args:
      layer: configuration of the layer.
      params, state: from `init_layer` and training.
      inputs: the factors of the input.
      candidates: candidate labels of each sample; None: all classes, in class order.

    Returns:
      Activity, rows of units or maps [h, w, c]; the candidate axis has size 1 if no input depends
      on the label.

    >>> layer = Layer(nn.Dense(4))
    >>> inputs = (Part("input", jnp.ones((2, 3)), "sample"),)
    >>> params, state = init_layer(layer, jax.random.key(0), inputs)
    >>> activity(layer, params, inputs, state=state).shape
    (2, 1, 4)
    """
    return _forward(layer, params, state, inputs, candidates, None, False)[0]


def training_activity(
    layer: Layer,
    params: Params,
    state: BodyState,
    inputs: Sequence[Part],
    candidates: Int[Array, "batch candidates"] | None,
    key: Key[Array, ""] | None,
) -> tuple[Float[Array, "batch one_or_candidates *units"], BodyState]:
    """The layer's activity in an update, and its new state.

    Statistics are those of the batch, over all samples and candidates; the body drops units with
    the random key. The layer's loss and the next layer receive this activity; see `passed_on`.

    Args:
      layer, params, state, inputs, candidates: as in `activity`.
      key: from `Layer.key`.
    """
    return _forward(layer, params, state, inputs, candidates, key, True)


def passed_on(layer: Layer, h: Array, key: Key[Array, ""] | None) -> Array:
    """The part of a training activity that the next layer receives: `layer.dropout` drops units.

    The rest is scaled up, so that the expected activity is that of scoring.
    """
    if not layer.dropout or key is None:
        return h
    # 16 random bits for each unit take half the time of 32.
    bits = jax.random.bits(jax.random.fold_in(key, 1), h.shape, jnp.uint16)
    dropped = bits < round(layer.dropout * 2**16)
    return jnp.where(dropped, jnp.zeros((), h.dtype), h / (1 - layer.dropout))


def _forward(
    layer: Layer,
    params: Params,
    state: BodyState,
    inputs: Sequence[Part],
    candidates: Int[Array, "batch candidates"] | None,
    key: Key[Array, ""] | None,
    train: bool,
) -> tuple[Float[Array, "batch one_or_candidates *units"], BodyState]:
    pre, state = _pre_activation(layer, params, state, inputs, candidates, key, train)
    # A body with a grid may also return plain units.
    if layer.pool is None or pre.ndim == 3:
        h = layer.activation(pre)
    elif layer.pool == "max" and layer.activation in _INCREASING:
        h = layer.activation(_pooled(layer, pre))  # the same, on a quarter of the numbers
    else:
        h = _pooled(layer, layer.activation(pre))
    if layer.winners is not None:
        simple = is_affine(layer.body) and layer.normalization is None
        h = keep_winners(h, layer.winners, h.ndim - 2, simple=simple)
    # Maps keep the type of the products: reading and writing them takes most of the time.
    dtype = getattr(layer.body, "dtype", None) if layer.grid is not None else None
    return h if dtype is None else h.astype(dtype), state


_INCREASING = (jax.nn.relu, jax.nn.sigmoid, jnp.tanh)
"""Activations that commute with a maximum."""


def _pooled(
    layer: Layer, h: Float[Array, "batch one_or_candidates *maps"]
) -> Float[Array, "batch one_or_candidates *pooled"]:
    assert layer.pool is not None
    pool = choose("activity", "pool", layer.pool, POOLS)
    pooled = pool(h.reshape(math.prod(h.shape[:2]), *h.shape[2:]))
    return pooled.reshape(*h.shape[:2], *pooled.shape[1:])


def _pre_activation(
    layer: Layer,
    params: Params,
    state: BodyState,
    inputs: Sequence[Part],
    candidates: Int[Array, "batch candidates"] | None,
    key: Key[Array, ""] | None,
    train: bool,
) -> tuple[Float[Array, "batch one_or_candidates *units"], BodyState]:
    """The body's output, normalized if the layer has a normalization, and the new state."""
    inputs = _body_inputs(layer, inputs)
    if not is_affine(layer.body):
        x, key = join(inputs, candidates), _own(layer.body, key)
        return apply_body(as_body(layer.body), params["body"], state, x, key, train)
    pre = _sum_of_products(layer, params, inputs, candidates)
    if layer.normalization is None:
        return pre, state
    body, key = as_body(layer.normalization), _own(layer.normalization, key)
    return apply_body(body, params["normalization"], state, pre, key, train)


def _own(body: nn.Module | Body, key: Key[Array, ""] | None) -> Key[Array, ""] | None:
    """A body's key: a function may split it, and the layer's own dropout folds 1 into `key`, which
    is a part of that split. Linen's modules do not split it."""
    return jax.random.fold_in(key, 0) if key is not None and isinstance(body, Body) else key


def _sum_of_products(
    layer: Layer,
    params: Params,
    inputs: Sequence[Part],
    candidates: Int[Array, "batch candidates"] | None,
) -> Float[Array, "batch one_or_candidates *units"]:
    """The output of an affine body: the sum of the products of the parts, and the bias.

    `inputs` are from `_body_inputs`.
    """
    assert isinstance(layer.body, nn.Module)
    linear = layer.body.clone(use_bias=False)
    batch = [part.value.shape[0] for part in inputs if part.per != "class"]
    products = []
    for part in inputs:
        kernel, value = params["kernels"][part.name], part.value
        if value.shape[-1] != kernel.shape[-2]:
            raise reject(
                "activity",
                part.name,
                f"have {kernel.shape[-2]} features, as the layer was built for",
                f"shape {value.shape}",
                "Build the network for inputs of this shape.",
            )
        product = linear.apply({"params": {"kernel": kernel}}, value)
        assert isinstance(product, jax.Array)
        # A readout of maps in bfloat16 computes in float32, to which its sum must not be cut.
        product = product.astype(jnp.promote_types(product.dtype, value.dtype))
        product = _per_candidate(product, part, candidates)
        if part.per == "class" and candidates is None and batch:
            product = _for_each_sample(product, batch[0])
        products.append(product)
    pre = sum(products[1:], start=products[0])
    if "bias" in params:
        pre = pre + jnp.expand_dims(params["bias"], tuple(range(pre.ndim - 1)))
    return pre


def _for_each_sample(
    product: Float[Array, "1 candidates *units"], samples: int
) -> Float[Array, "batch candidates *units"]:
    """Repeats the products of the labels for each sample.

    The gradient sums over the samples. XLA's CPU backend walks through the entire array for each
    number of such a sum, which took half of an update with all labels and 4000 units. A product
    with ones is a plain repetition to XLA, too, but its gradient is a matrix product.
    """
    shape = (samples, *product.shape[1:])

    def by_ones(product: Array) -> Array:
        return (jnp.ones((samples, 1), product.dtype) @ product.reshape(1, -1)).reshape(shape)

    def plainly(product: Array) -> Array:
        return jnp.broadcast_to(product, shape)

    return lax.platform_dependent(product, cpu=by_ones, default=plainly)
