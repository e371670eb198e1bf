"""A network whose units belong to classes: for each class a small network of its own.

The units are *linear* where the goodness is taken: the square of a rectified unit knows one side
of a direction only, and what a class is like is where its images do not vary, on either side.
"""

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.checks import check_integer, check_integers, reject
from sffa_jax.continual.model import Model, Modules, softmax_loss
from sffa_jax.core.overlays import Overlay
from sffa_jax.core.rules import unit_length


def seen_by_groups(x: Float[Array, "batch pixels"]) -> Float[Array, "batch pixels"]:
    """Rows of mean square 1 whose darkest pixel was 0 before.

    All directions through 0 then mean the same for every class, and a weak image is no weak sign.
    """
    return unit_length(x - jnp.min(x, axis=-1, keepdims=True))


def group_activities(
    modules: Modules, x: Float[Array, "batch pixels"]
) -> Iterator[Float[Array, "groups batch units"]]:
    """Yields each layer's activity, of every group that the parameters hold.

    A group of layer k sees the rectified activity, at length 1, of its own class's group below it
    and of no other: what other classes learn later cannot reach it.
    """
    seen = seen_by_groups(x)
    below = None
    for module in modules:
        if below is None:
            h = jnp.einsum("bi,ciu->cbu", seen, module["w"])
        else:
            # A product a group: one product of all, in two devices of a CPU at once, was seen to
            # wait for ever (jax 0.10.2).
            h = jnp.stack([x_c @ w_c for x_c, w_c in zip(below, module["w"], strict=True)])
        yield h
        below = jax.lax.stop_gradient(unit_length(jax.nn.relu(h)))


def owned_model(
    hidden: Sequence[int],
    classes: int,
    goodness: Callable[[Array], Array],
    *,
    polar: bool,
) -> Model:
    """Layers in which each class owns a group of units; a module a layer.

    Args:
      hidden: units of each layer, over all classes.
      classes: number of groups, one for each class that will come.
      goodness: activity [..., units of a group] -> log-odds [...].
      polar: whether a group is two halves, so that its size must be even.

    Returns:
      A model whose outputs are log-odds by class, in the order of arrival; of parameters that were
      cut to some groups, of those groups. Module k's parameters are {"w": [classes, in, units]}.

    Raises:
      ValueError: for no layer, or units that cannot be shared out evenly.
    """
    check_integer("owned_model", "classes", classes, 1)
    check_integers("owned_model", "hidden", hidden, 1)
    shares = classes * (2 if polar else 1)
    if not hidden or any(units % shares for units in hidden):
        raise reject(
            "owned_model",
            "hidden",
            f"be units that {classes} classes can share" + " in two halves" * polar,
            tuple(hidden),
            f"Choose multiples of {shares}.",
        )

    def init(key: Array, x: Array) -> tuple[Modules, None]:
        sizes = [x.shape[-1], *(units // classes for units in hidden)]
        keys = jax.random.split(key, len(hidden))
        return tuple(
            {"w": jax.random.normal(k, (classes, d_in, d_out)) / d_in**0.5}
            for k, d_in, d_out in zip(keys, sizes, sizes[1:], strict=False)
        ), None

    def outputs(
        modules: Modules, overlay: Overlay | None, x: Array, candidates: Array | None
    ) -> Array:
        del overlay
        found = jnp.stack([goodness(h).T for h in group_activities(modules, x)])
        if candidates is None:
            return found
        return jnp.take_along_axis(found, candidates[None], axis=-1)

    def activity(modules: Modules, overlay: Overlay | None, x: Array, labels: Array) -> list[Array]:
        del overlay, labels
        layers = group_activities(modules, x)
        return [jnp.moveaxis(h, 0, 1).reshape(h.shape[1], -1) for h in layers]

    return Model(init, outputs, softmax_loss, lambda scores: scores, hidden=activity)
