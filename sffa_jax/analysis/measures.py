"""What is measured of one layer's activity, whatever trained it."""

import jax
import jax.numpy as jnp

from sffa_jax.analysis import sparsity, specialization


def measures(h: jax.Array, labels: jax.Array, classes: int) -> dict[str, jax.Array]:
    """How sparse and how specialized one layer's activity is: scalars."""
    means = specialization.class_means(h, labels, classes)
    return {
        "hoyer": jnp.nanmean(sparsity.hoyer(h)),
        "treves_rolls": jnp.nanmean(sparsity.treves_rolls(h)),
        "active_share": jnp.mean(sparsity.active_share(h)),
        "dead_share": jnp.mean(sparsity.dead_units(h), dtype=jnp.float32),
        "selectivity": jnp.mean(specialization.selectivity(means)),
        "owned_share": specialization.owned_share(specialization.owners(means)),
        "overlap": specialization.mean_overlap(specialization.overlap(means)),
    }
