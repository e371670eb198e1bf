"""One layer: a body (any Flax module), an activation, and winners.

A layer sees the input of many label candidates at once. Where its body is affine (Dense, Conv),
the body is applied to each factor of the input by itself and the results are added, which is the
same number and far less work: the image's product is shared by all candidates of a sample, a
label's by all samples. Autodiff carries the saving over to the weight gradient.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from sffa_jax.checks import check_choice, check_integer, check_integers, reject
from sffa_jax.overlays import Part
from sffa_jax.winners import keep_winners

Params = Any
"""Parameters of one layer: a pytree of arrays."""

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}

INITIALISERS: dict[str, nn.initializers.Initializer] = {
    "lecun_normal": nn.initializers.lecun_normal(),
    # Uniform within 1 / sqrt(inputs): the default of PyTorch's linear layer, 1/sqrt(3) as wide.
    "torch": nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
}
"""How a dense layer's weights are drawn."""

# float32 is Flax's None: the type of input and parameters, float64 where those are.
DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}
"""What a dense layer's products can be computed in."""


@dataclass(frozen=True)
class Layer:
    """What a layer computes.

    Attributes:
      body: a Flax module with `init` and `apply` that maps [..., d_in] to [..., units].
      activation: applied element-wise to the body's output.
      winners: units that stay active in each half; None keeps all.

    Raises:
      ValueError: for no winner.
    """

    body: nn.Module
    activation: Callable[[Array], Array] = jax.nn.relu
    winners: int | None = None

    def __post_init__(self) -> None:
        if self.winners is not None:
            check_integer("Layer", "winners", self.winners, 1, "None keeps all units.")


def dense_layers(
    hidden: Sequence[int],
    *,
    activation: str = "relu",
    winners: int | None = None,
    initialiser: str = "lecun_normal",
    precision: str = "float32",
) -> tuple[Layer, ...]:
    """Fully connected layers without bias (as in the released code), one per width.

    Args:
      hidden: width of each layer.
      activation: one of `ACTIVATIONS`.
      winners: units that stay active in each half; None keeps all.
      initialiser: one of `INITIALISERS`.
      precision: what products are computed in, one of `DTYPES`; parameters, sums of products' parts
        and activity keep the type of the input.

    Raises:
      ValueError: for no layer, a width below 1, winners above half a layer, or an unknown name.
    """
    check_choice("dense_layers", "activation", activation, ACTIVATIONS)
    check_choice("dense_layers", "initialiser", initialiser, INITIALISERS)
    check_choice("dense_layers", "precision", precision, DTYPES)
    hidden = check_integers("dense_layers", "hidden", hidden, 1)
    if not hidden:
        raise reject("dense_layers", "hidden", "name at least one width", "none")
    for units in hidden:
        if winners is not None:
            check_integer("dense_layers", "winners", winners, 1, "Leave it out to keep all units.")
            if winners > units // 2:
                raise reject(
                    "dense_layers",
                    "winners",
                    f"be at most half of the layer's {units} units",
                    winners,
                    "Choose fewer winners or a wider layer.",
                )
    draw = INITIALISERS[initialiser]
    return tuple(
        Layer(
            nn.Dense(units, use_bias=False, kernel_init=draw, dtype=DTYPES[precision]),
            ACTIVATIONS[activation],
            winners,
        )
        for units in hidden
    )


def is_affine(body: nn.Module) -> bool:
    """Whether the body is a product with a kernel plus a bias, so that its input factors."""
    if type(body) is nn.Conv:
        return body.feature_group_count == 1
    return type(body) is nn.Dense


def join(
    inputs: Sequence[Part], candidates: Int[Array, "batch candidates"] | None
) -> Float[Array, "batch candidates *d_in"]:
    """The input that the parts stand for, one row for each sample and candidate (unfactored)."""
    named: dict[str, Array] = {}
    for part in inputs:
        value = _per_candidate(part.value, part, candidates)
        named[part.name] = named[part.name] + value if part.name in named else value
    lead = jnp.broadcast_shapes(*(value.shape[:2] for value in named.values()))
    full = [jnp.broadcast_to(value, lead + value.shape[2:]) for value in named.values()]
    return jnp.concatenate(full, axis=-1) if len(full) > 1 else full[0]


def _per_candidate(
    value: Array, part: Part, candidates: Int[Array, "batch candidates"] | None
) -> Array:
    """Gives a value of shape [samples or classes, ...] the axes [batch or 1, candidates or 1]."""
    if part.per == "candidate":
        return value
    if part.per == "sample":
        return value[:, None]
    if candidates is None:
        return value[None]
    # A product with a one-hot code instead of a gather, whose transpose is a slow scatter; as one
    # plain product of matrices, since the transpose of a batched one is copied about first.
    one_hot = jax.nn.one_hot(candidates.reshape(-1), value.shape[0], dtype=value.dtype)
    flat = one_hot @ value.reshape(value.shape[0], -1)
    return flat.reshape(*candidates.shape, *value.shape[1:])


def init_layer(layer: Layer, key: Key[Array, ""], inputs: Sequence[Part]) -> Params:
    """Parameters of a layer that takes these inputs (their shapes matter, not their values).

    An affine body is initialised on the concatenated input, as if it were not factored, and its
    kernel then split by rows, one piece for each name of the inputs.
    """
    row = jax.eval_shape(lambda: join(inputs, None)[:1, 0])
    params = layer.body.init(key, jnp.zeros(row.shape, row.dtype))["params"]
    if not is_affine(layer.body):
        return params
    sizes = {part.name: part.value.shape[-1] for part in inputs}
    edges = [sum(list(sizes.values())[: i + 1]) for i in range(len(sizes) - 1)]
    kernels = dict(zip(sizes, jnp.split(params["kernel"], edges, axis=-2), strict=True))
    return {"kernels": kernels} | ({"bias": params["bias"]} if "bias" in params else {})


def activity(
    layer: Layer,
    params: Params,
    inputs: Sequence[Part],
    candidates: Int[Array, "batch candidates"] | None = None,
) -> Float[Array, "batch candidates *units"]:
    """The layer's activity for each sample and each of its label candidates.

    Args:
      layer: what to compute.
      params: from `init_layer`.
      inputs: the factors of the input.
      candidates: labels to try for each sample; None tries all classes, in class order.

    Returns:
      Activity; the candidate axis has size 1 if no input depends on the label.
    """
    if is_affine(layer.body):
        linear = layer.body.clone(use_bias=False)
        products = []
        for part in inputs:
            kernel = params["kernels"][part.name]
            if part.value.shape[-1] != kernel.shape[-2]:
                raise reject(
                    "activity",
                    part.name,
                    f"have {kernel.shape[-2]} features, as the layer was built for",
                    f"shape {part.value.shape}",
                    "Build the network for inputs of this shape.",
                )
            product = linear.apply({"params": {"kernel": kernel}}, part.value)
            assert isinstance(product, jax.Array)
            product = product.astype(part.value.dtype)
            products.append(_per_candidate(product, part, candidates))
        pre = sum(products[1:], start=products[0])
        if "bias" in params:
            pre = pre + jnp.expand_dims(params["bias"], tuple(range(pre.ndim - 1)))
    else:
        x = join(inputs, candidates)
        # A body of the user's may know one batch axis only.
        flat = x.reshape(math.prod(x.shape[:2]), *x.shape[2:])
        out = layer.body.apply({"params": params}, flat)
        assert isinstance(out, jax.Array)
        out = out.astype(x.dtype)
        pre = out.reshape(*x.shape[:2], *out.shape[1:])
    h = layer.activation(pre)
    return h if layer.winners is None else keep_winners(h, layer.winners)
