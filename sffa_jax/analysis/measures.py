"""Measurements of one layer: sparsity, specialization, separability, precision of its logits."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sffa_jax.analysis import precision, separability, sparsity, specialization
from sffa_jax.analysis.separability import Labeled
from sffa_jax.checks import reject


def activity_measures(
    h: Float[Array, "samples units"], labels: Int[Array, " samples"], num_classes: int
) -> dict[str, Float[Array, ""]]:
    """Returns scalars of the sparsity and the specialization of one layer's activity.

    A unit is as active as its activity is large: that of tanh may be negative.

    >>> import jax.numpy as jnp
    >>> h = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    >>> measures = activity_measures(h, jnp.array([0, 1]), 2)
    >>> float(measures["hoyer"]), float(measures["selectivity"])
    (1.0, 1.0)
    """
    h = jnp.abs(h)
    means = specialization.class_means(h, labels, num_classes)
    return {
        "hoyer": jnp.nanmean(sparsity.hoyer(h)),
        "treves_rolls": jnp.nanmean(sparsity.treves_rolls(h)),
        "active_share": jnp.mean(sparsity.active_share(h)),
        "dead_share": jnp.mean(sparsity.dead_units(h), dtype=jnp.float32),
        "selectivity": jnp.mean(specialization.selectivity(means)),
        "owned_share": specialization.owned_share(specialization.owners(means)),
        "overlap": specialization.mean_overlap(specialization.overlap(means)),
    }


def separability_measures(train: Labeled, test: Labeled, num_classes: int) -> dict[str, float]:
    """Returns scalars of the separability of the classes in one layer's latents.

    Args:
      train: latents on which the probes are trained.
      test: latents that are measured; every class has samples.
      num_classes: number of labels.
    """
    fisher_ratio = jax.jit(separability.fisher_ratio, static_argnums=2)
    return {
        "fisher": float(fisher_ratio(test.h, test.labels, num_classes)),
        "silhouette": separability.silhouette(test),
        "linear_probe": separability.linear_probe(train, test),
        "neighbors": separability.nearest_neighbors(train, test),
    }


def logit_measures(
    logits: Float[np.ndarray, "layers samples classes"], labels: Int[Array, " samples"]
) -> list[dict[str, float]]:
    """Returns, for each layer, scalars of how well its logits separate true from wrong labels.

    Networks of several layers also have `agreement`: the mean fraction of samples for which
    another layer predicts the same label.

    Raises:
      ValueError: for logits that are not finite.
    """
    finite = np.isfinite(logits).all(axis=(1, 2))
    if not finite.all():
        got = f"NaN or infinite ones in layer {np.argmin(finite)}"
        advice = "Measure only networks that did not diverge."
        raise reject("logit_measures", "logits", "be finite", got, advice)
    same = np.asarray(jax.jit(precision.agreement)(logits))
    layers: list[dict[str, float]] = []
    for of_layer, agrees in zip(logits, same, strict=True):
        scalars, kinds = _scalars_and_kinds(of_layer, labels)
        layer = {name: float(value) for name, value in scalars.items()}
        layer["goodness_overlap"] = precision.histograms(*kinds).overlap
        if len(logits) > 1:
            layer["agreement"] = float((agrees.sum() - 1) / (len(logits) - 1))
        layers.append(layer)
    return layers


@jax.jit
def _scalars_and_kinds(
    logits: Float[Array, "samples classes"], labels: Int[Array, " samples"]
) -> tuple[dict[str, Array], tuple[Array, Array]]:
    """Returns measures of one layer's logits, and the logits of true and of wrong labels."""
    right, wrong = precision.right_and_wrong(logits, labels)
    probabilities = jax.nn.sigmoid(jnp.concatenate([right, wrong]))
    is_right = jnp.arange(len(probabilities)) < len(right)
    # Wrong labels weigh as much as true ones; otherwise calibration would be that of a rare event.
    weights = jnp.where(is_right, 1.0, 1 / (logits.shape[-1] - 1))
    diagram = precision.reliability(probabilities, is_right, weights=weights)
    scalars = {
        "auroc": precision.auroc(right, wrong),
        "calibration_error": precision.calibration_error(diagram),
    }
    return scalars, (right, wrong)


def selective_fields(
    kernel: Float[np.ndarray, "pixels units"],
    means: Float[np.ndarray, "classes units"],
    image_shape: Sequence[int],
) -> Float[np.ndarray, "classes *image"]:
    """Returns the pixel weights of the most selective unit of each class.

    Args:
      kernel: the first layer's weights on the pixels.
      means: mean activity of each unit over each class's samples.
      image_shape: of one image.
    """
    fraction = means / np.maximum(means.sum(axis=0), 1e-12)
    # Only among units that respond; a selective unit that is rarely active is no evidence.
    fraction[:, means.max(axis=0) < 0.1 * means.max()] = 0
    return np.asarray(kernel[:, fraction.argmax(axis=1)].T.reshape(len(means), *image_shape))
