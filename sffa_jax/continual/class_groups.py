"""A network with a separate group of units, a small network, for each class.

The goodness uses *linear* units: the square of a rectified unit responds to one side of a direction
only, but a class is characterized by directions in which its images vary little to both sides.
"""

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sffa_jax.checks import check_integer, check_integers, reject
from sffa_jax.continual.model import Model, Modules, softmax_loss
from sffa_jax.core.overlays import Overlay
from sffa_jax.core.rules import unit_length


def normalize_images(x: Float[Array, "batch pixels"]) -> Float[Array, "batch pixels"]:
    """Shifts each image so that its darkest pixel is 0 and scales it to a mean square of 1.

    Logits of different groups are then comparable, and the contrast of an image has no effect. An
    image of a single value becomes 1 everywhere; zeros would give all classes the same logit.
    """
    darkest = jnp.min(x, axis=-1, keepdims=True)
    blank = jnp.max(x, axis=-1, keepdims=True) == darkest
    return jnp.where(blank, 1.0, unit_length(x - darkest))


def group_activities(
    modules: Modules, x: Float[Array, "batch pixels"]
) -> Iterator[Float[Array, "groups batch units"]]:
    """Yields each layer's activity, of every group in the parameters.

    A group of layer k receives only the rectified, normalized activity of its class's group below,
    so learning other classes later does not affect it.
    """
    images = normalize_images(x)
    below = None
    for module in modules:
        if below is None:
            h = jnp.einsum("bi,ciu->cbu", images, module["w"])
        else:
            # One product per group: a single batched product can deadlock on two devices of a CPU
            # (jax 0.10.2).
            h = jnp.stack([x_c @ w_c for x_c, w_c in zip(below, module["w"], strict=True)])
        yield h
        below = jax.lax.stop_gradient(unit_length(jax.nn.relu(h)))


def grouped_model(
    hidden: Sequence[int],
    num_classes: int,
    logit: Callable[[Array], Array],
    *,
    polar: bool,
) -> Model:
    """Makes a model with a separate group of units for each class in each layer (a module).

    Args:
      hidden: units of each layer, over all classes.
      num_classes: number of groups, one per class of all tasks.
      logit: activity [..., units of a group] -> logit [...].
      polar: whether a group consists of two halves, so that its size must be even.

    Returns:
      A model with one logit per class, in order of arrival. Module k's parameters are
      {"w": [classes, in, units]}; given the parameters of some groups, it returns their logits.

    Raises:
      ValueError: for no layer, or units that cannot be divided evenly.
    """
    check_integer("grouped_model", "num_classes", num_classes, 1)
    check_integers("grouped_model", "hidden", hidden, 1)
    parts = num_classes * (2 if polar else 1)
    if not hidden or any(units % parts for units in hidden):
        raise reject(
            "grouped_model",
            "hidden",
            f"be units that {num_classes} classes can share" + " in two halves" * polar,
            tuple(hidden),
            f"Choose multiples of {parts}.",
        )

    def init(key: Array, x: Array) -> tuple[Modules, None]:
        sizes = [x.shape[-1], *(units // num_classes for units in hidden)]
        keys = jax.random.split(key, len(hidden))
        return tuple(
            {"w": jax.random.normal(k, (num_classes, d_in, d_out)) / d_in**0.5}
            for k, d_in, d_out in zip(keys, sizes, sizes[1:], strict=False)
        ), None

    def logits(
        modules: Modules, overlay: Overlay | None, x: Array, candidates: Array | None
    ) -> Array:
        del overlay
        by_class = jnp.stack([logit(h).T for h in group_activities(modules, x)])
        if candidates is None:
            return by_class
        return jnp.take_along_axis(by_class, candidates[None], axis=-1)

    def activity(modules: Modules, overlay: Overlay | None, x: Array, labels: Array) -> list[Array]:
        del overlay, labels
        layers = group_activities(modules, x)
        return [jnp.moveaxis(h, 0, 1).reshape(h.shape[1], -1) for h in layers]

    return Model(init, logits, softmax_loss, lambda scores: scores, hidden=activity)
