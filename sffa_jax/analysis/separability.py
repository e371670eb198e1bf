"""Separability of the classes in latents [samples, units]."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sffa_jax.analysis.specialization import class_means
from sffa_jax.data.splits import spread_rows


class Labeled(NamedTuple):
    """Attributes: h: [samples, units] latents; labels: [samples]."""

    h: np.ndarray
    labels: np.ndarray


def fisher_ratio(
    h: Float[Array, "samples units"], labels: Int[Array, " samples"], num_classes: int
) -> Float[Array, ""]:
    """Ratio of the traces of between-class and within-class scatter; every class needs samples.

    Reference: Fukunaga 1990, "Introduction to statistical pattern recognition", section 10.2.
    """
    means = class_means(h, labels, num_classes)
    between = jnp.sum(jnp.square(means[labels] - jnp.mean(h, axis=0, keepdims=True)))
    within = jnp.sum(jnp.square(h - means[labels]))
    return between / within


# scikit-learn is imported where it is used because it loads slowly.


def silhouette(data: Labeled, *, at_most: int = 2000) -> float:
    """Mean silhouette with Euclidean distances, on at most `at_most` samples at equal distances,
    because it compares all pairs.

    Reference: Rousseeuw 1987, J. Comput. Appl. Math. 20.
    """
    from sklearn.metrics import silhouette_score

    rows = spread_rows(len(data.labels), at_most)
    return float(silhouette_score(data.h[rows], data.labels[rows]))


def _accuracy(model: Any, train: Labeled, test: Labeled) -> float:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return float(make_pipeline(StandardScaler(), model).fit(*train).score(*test))


def linear_probe(train: Labeled, test: Labeled) -> float:
    """Accuracy of a linear classifier (ridge, closed form) on standardized latents.

    Reference: Alain & Bengio 2016, arXiv:1610.01644.
    """
    from sklearn.linear_model import RidgeClassifier

    return _accuracy(RidgeClassifier(alpha=100.0), train, test)


def nearest_neighbors(train: Labeled, test: Labeled) -> float:
    """Accuracy of the five nearest neighbors in standardized latents."""
    from sklearn.neighbors import KNeighborsClassifier

    return _accuracy(KNeighborsClassifier(5), train, test)
