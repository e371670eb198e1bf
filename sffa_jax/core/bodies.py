"""Bodies: what a layer computes before its activation, as a pair of pure functions.

A body may have a state beside its parameters, e.g. the running statistics of batch normalization.
The state has no gradient; training passes it from one update to the next. A layer takes a Flax
Linen module as it is; `nnx_body`, `equinox_body` and `function_body` adapt what others write.
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
      name: for tables.
    """

    init: Callable[[Array, Array], tuple[Params, BodyState]]
    apply: Callable[[Params, BodyState, Array, Array | None, bool], tuple[Array, BodyState]]
    has_modes: bool = True
    name: str = "functions"


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
        collections = dict(state)
        out, new = module.apply(
            {"params": params, **collections},
            x,
            rngs=None if key is None else {"params": key},
            mutable=list(collections),
            **arguments(train),
        )
        # Under x64, the statistics of float64 activity would change the type of the state.
        kept = jax.tree.map(lambda old, leaf: leaf.astype(old.dtype), collections, dict(new))
        return out, kept or ()

    return Body(init, apply, bool(flags), type(module).__name__)


def function_body(
    init: Callable[[Array, Array], Params], apply: Callable[[Params, Array], Array]
) -> Body:
    """A pair of plain functions as a body: init(key, x) -> parameters, apply(parameters, x).

    >>> body = function_body(lambda key, x: jnp.ones(x.shape[-1]), lambda scale, x: scale * x)
    >>> body.init(jax.random.key(0), jnp.ones((1, 3)))
    (Array([1., 1., 1.], dtype=float32), ())
    """
    return Body(
        lambda key, x: (init(key, x), ()),
        lambda params, state, x, _key, _train: (apply(params, x), state),
        has_modes=False,
    )


def nnx_body(make: Callable[[Any], Any]) -> Body:
    """A Flax NNX module as a body; its state is every variable but `nnx.Param`.

    Dropout draws from the module's streams, which start from the key of each update.

    Args:
      make: (`nnx.Rngs`) -> module.

    >>> from flax import nnx
    >>> body = nnx_body(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
    >>> params, state = body.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> body.apply(params, state, jnp.ones((4, 3)), None, False)[0].shape
    (4, 2)
    """
    from flax import nnx

    abstract = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    graph = nnx.graphdef(abstract)
    modes = ("deterministic", "use_running_average")
    nodes = [node for _, node in nnx.iter_graph(abstract)]

    def init(key: Array, x: Array) -> tuple[Params, BodyState]:
        del x
        parts: Any = nnx.split(make(nnx.Rngs(key)), nnx.Param, ...)
        return parts[1], parts[2]

    def apply(
        params: Params, state: BodyState, x: Array, key: Array | None, train: bool
    ) -> tuple[Any, BodyState]:
        module = nnx.merge(graph, params, state, copy=True)
        (module.train if train else module.eval)()
        streams = [node for _, node in nnx.iter_graph(module) if isinstance(node, nnx.RngStream)]
        own = [stream.key[...] for stream in streams]
        if key is not None:  # the same pass draws the same numbers, whatever was drawn before
            if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
                key = jax.random.wrap_key_data(key)
            for i, stream in enumerate(streams):
                stream.key[...] = jax.random.fold_in(key, i)
                stream.count[...] = jnp.zeros_like(stream.count[...])
        out = module(x)
        for stream, first in zip(streams, own, strict=True):
            stream.key[...] = first
        parts: Any = nnx.split(module, nnx.Param, ...)
        return out, parts[2]

    has_modes = any(hasattr(node, mode) for node in nodes for mode in modes)
    return Body(init, apply, has_modes, type(abstract).__name__)


def equinox_body(make: Callable[[Array], Any]) -> Body:
    """An Equinox module of one sample as a body; it needs the package `equinox`.

    The module is mapped over rows under the axis name "batch", which `eqx.nn.BatchNorm` needs. The
    state contains its `eqx.nn.State` and arrays without a gradient.

    Args:
      make: (key) -> module, or with a state (key) -> (module, state), e.g. by
        `eqx.nn.make_with_state`. A call argument `key` receives a random key in training, if the
        module has a state or a part with the flag `inference`, such as `eqx.nn.Dropout`.

    >>> import equinox as eqx
    >>> body = equinox_body(lambda key: eqx.nn.Linear(3, 2, key=key))
    >>> params, state = body.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> body.apply(params, state, jnp.ones((4, 3)), None, False)[0].shape
    (4, 2)
    """
    import equinox as eqx

    def split(made: Any) -> tuple[Any, Any, Any]:
        module, state = made if isinstance(made, tuple) else (made, None)
        params = eqx.filter(module, _is_float)
        constants = eqx.filter(module, lambda leaf: _is_array(leaf) and not _is_float(leaf))
        return params, constants, state

    abstract = eqx.filter_eval_shape(make, jax.random.key(0))
    has_state = isinstance(abstract, tuple)
    module = abstract[0] if has_state else abstract
    static = eqx.filter(module, _is_array, inverse=True)
    takes_key = "key" in inspect.signature(module.__call__).parameters
    leaves = jax.tree.leaves(module, is_leaf=lambda node: hasattr(node, "inference"))

    def init(key: Array, x: Array) -> tuple[Params, BodyState]:
        del x
        params, *state = split(make(key))
        return params, tuple(state)

    def apply(
        params: Params, state: BodyState, x: Array, key: Array | None, train: bool
    ) -> tuple[Any, BodyState]:
        # Equinox refuses a state that was used before; a copy was not.
        constants, of_module = jax.tree.map(lambda leaf: leaf, state)
        module = eqx.nn.inference_mode(eqx.combine(params, constants, static), not train)
        keys = None
        if key is not None and takes_key:
            keys = jax.random.split(key, len(x))

        def one(x: Array, key: Array | None) -> tuple[Any, Any]:
            keyword = {} if key is None else {"key": key}
            if has_state:
                out, new = module(x, of_module, **keyword)
                return out, new
            return module(x, **keyword), None

        in_axes = (0, None if keys is None else 0)
        out, new = jax.vmap(one, in_axes, (0, None), axis_name="batch")(x, keys)
        return out, (constants, new)

    has_modes = has_state or any(hasattr(leaf, "inference") for leaf in leaves)
    return Body(init, apply, has_modes, type(module).__name__)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct)


def _is_float(leaf: Any) -> bool:
    return _is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact)


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
        used_key = key if train and body.has_modes else None
        result = run(
            jax.eval_shape,
            lambda p, s, x, key, train=train: body.apply(p, s, x, key, train),
            *(params, state, two_rows, used_key),
        )
        if not isinstance(result, tuple) or len(result) != 2:
            raise wrong("`apply` that does not return (output, state)")
        out, new = result
        if not isinstance(out, jax.ShapeDtypeStruct):
            raise wrong(f"an output of type {type(out).__name__}")
        expected = two_rows.shape if same else (2, *out.shape[1:])
        units = out.ndim in (2, 4) and 0 not in out.shape
        if out.shape != expected or not units or not jnp.issubdtype(out.dtype, jnp.floating):
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

    Statistics over the batch are therefore those of positive and negative samples together. A body
    without modes gets no key, also in a layer that drops units itself.
    """
    key = key if body.has_modes else None
    rows = x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
    out, state = body.apply(params, state, rows, key, train)
    out = out.astype(x.dtype)
    return out.reshape(*x.shape[:2], *out.shape[1:]), state
