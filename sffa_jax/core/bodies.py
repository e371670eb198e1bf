"""Bodies: what a layer computes before its activation, as a pair of pure functions.

A body may have a state beside its parameters, e.g. the running statistics of batch normalization.
The state has no gradient; training passes it from one update to the next. A layer takes a Flax
Linen module as it is; `linen_body` turns it into a `Body`.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key

from sffa_jax.checks import reject

Params = Any
"""Parameters: a pytree of arrays."""

BodyState = Any
"""What a body remembers beside its parameters: a pytree of arrays, without leaves if nothing."""


class Body(NamedTuple):
    """A function with parameters and state, of rows or of maps.

    Attributes:
      init: (key, x) -> (parameters, state), for inputs of the shape of `x`.
      apply: (parameters, state, x, key, train) -> (output, new state); rows stay rows. `train` is a
        plain boolean. In training the batch's statistics are used and random units are dropped,
        with the random `key`; otherwise `key` is None, the running statistics are used and the new
        state is ignored.
      has_modes: whether training differs from scoring; without, `key` is always None.
    """

    init: Callable[[Array, Array], tuple[Params, BodyState]]
    apply: Callable[[Params, BodyState, Array, Array | None, bool], tuple[Array, BodyState]]
    has_modes: bool = True


_TRAINING_ARGUMENTS = {
    **dict.fromkeys(("train", "training", "is_training"), True),
    **dict.fromkeys(("deterministic", "use_running_average"), False),
}
"""Call arguments by which Flax modules learn whether they train, and their value in training."""


def linen_body(module: nn.Module) -> Body:
    """A Flax Linen module as a body; its state is every collection but `params`.

    A call argument `train`, `training`, `is_training`, `deterministic` or `use_running_average` is
    set by the caller. In training, every stream of random numbers draws from the layer's key.

    >>> body = linen_body(nn.BatchNorm())
    >>> params, state = body.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> jax.tree.map(jnp.shape, state)
    {'batch_stats': {'mean': (3,), 'var': (3,)}}
    """
    names = inspect.signature(type(module).__call__).parameters
    flags = {name: value for name, value in _TRAINING_ARGUMENTS.items() if name in names}

    def arguments(train: bool) -> dict[str, Any]:
        return {name: value == train for name, value in flags.items()}

    def init(key: Array, x: Array) -> tuple[Params, BodyState]:
        variables = dict(module.init(key, x, **arguments(False)))
        return variables.pop("params", {}), variables or ()

    def apply(
        params: Params, state: BodyState, x: Array, key: Array | None, train: bool
    ) -> tuple[Any, BodyState]:  # `init_body` refuses what is no array
        collections = dict(state or {})
        out, new = module.apply(
            {"params": params, **collections},
            x,
            rngs=None if key is None else {"params": key},
            mutable=list(collections),
            **arguments(train),
        )
        return out, dict(new) or ()

    return Body(init, apply, bool(flags))


def as_body(body: nn.Module | Body) -> Body:
    """Returns the functions of a layer's body."""
    return body if isinstance(body, Body) else linen_body(body)


def init_body(
    name: str, body: Body, key: Key[Array, ""], row: jax.ShapeDtypeStruct, *, same: bool = False
) -> tuple[Params, BodyState]:
    """Draws the parameters and the state of a body, and tries it without computing.

    Args:
      name: of the layer, for messages.
      body: the body.
      key: draws the parameters.
      row: shape and type of one input, without the axis of rows.
      same: whether the output must have the shape of the input, as a normalization's.

    Raises:
      ValueError: if the body fails, or returns anything but rows of numbers and a state of constant
        shapes.
    """
    shape = ", ".join(map(str, row.shape))
    rule = f"have a body that maps [rows, {shape}] to rows of " + (
        "the same shape" if same else "units or maps"
    )

    def wrong(got: object) -> ValueError:
        return reject("init_network", name, rule, got)

    def run(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            first = str(error).strip().partition("\n")[0].rstrip(".")
            raise wrong(f"{type(error).__name__}: {first}" if first else repr(error)) from error

    pair = run(body.init, key, jnp.zeros((1, *row.shape), row.dtype))
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise wrong("`init` that does not return (parameters, state)")
    params, state = pair
    two_rows = jax.ShapeDtypeStruct((2, *row.shape), row.dtype)
    for train in (True, False):

        def apply(params: Params, state: BodyState, x: Array, key: Array) -> Any:
            of_mode = key if train and body.has_modes else None  # noqa: B023
            return body.apply(params, state, x, of_mode, train)  # noqa: B023

        result = run(jax.eval_shape, apply, params, state, two_rows, key)
        if not isinstance(result, tuple) or len(result) != 2:
            raise wrong("`apply` that does not return (output, state)")
        out, new = result
        if not isinstance(out, jax.ShapeDtypeStruct):
            raise wrong(f"an output of type {type(out).__name__}")
        expected = [two_rows.shape] if same else [(2, *out.shape[1:])]
        units = out.ndim in (2, 4) and 0 not in out.shape
        if out.shape not in expected or not units or not jnp.issubdtype(out.dtype, jnp.floating):
            raise wrong(f"{out.dtype}{list(out.shape)} for 2 rows")
        if train and _shapes(new) != _shapes(state):
            raise wrong("a state that changes its structure, shapes or types in training")
    return params, state


def _shapes(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), leaf.dtype) for leaf in leaves]


def apply_body(
    body: Body,
    params: Params,
    state: BodyState,
    x: Float[Array, "batch one_or_candidates *input"],
    key: Key[Array, ""] | None,
    train: bool,
) -> tuple[Float[Array, "batch one_or_candidates *units"], BodyState]:
    """Applies a body to the rows of all samples and candidates together.

    Statistics over the batch are therefore those of positive and negative samples together.
    """
    rows = x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
    out, state = body.apply(params, state, rows, key, train)
    out = out.astype(x.dtype)
    return out.reshape(*x.shape[:2], *out.shape[1:]), state
