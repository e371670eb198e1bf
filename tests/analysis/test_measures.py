"""Scalars of a layer's logits."""

import jax.numpy as jnp
import numpy as np

from sffa_jax.analysis.measures import logit_measures


def test_the_numbering_of_the_classes_has_no_effect():
    rng = np.random.default_rng(0)
    labels = np.arange(200, dtype=np.int32) % 5
    logits = rng.normal(0, 2, (200, 5)).astype(np.float32)
    logits[np.arange(200), labels] += 2
    logits[np.arange(200), (labels + 1) % 5] += 2.5  # one wrong label is taken for the true one
    renamed = np.int32([3, 0, 4, 1, 2])
    (first,) = logit_measures(logits[None], jnp.asarray(labels))
    (second,) = logit_measures(logits[None][..., np.argsort(renamed)], jnp.asarray(renamed[labels]))
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=1e-5, err_msg=name)
