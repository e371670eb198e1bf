"""What is measured of one layer's activity, whatever trained it."""

import jax
import jax.numpy as jnp

from sffa_jax.analysis import sparsity, specialisation


def measures(h: jax.Array, labels: jax.Array, classes: int) -> dict[str, jax.Array]:
    """How sparse and how specialised one layer's activity is: scalars."""
    means = specialisation.class_means(h, labels, classes)
    return {
        "hoyer": jnp.nanmean(sparsity.hoyer(h)),
        "treves_rolls": jnp.nanmean(sparsity.treves_rolls(h)),
        "active_share": jnp.mean(sparsity.active_share(h)),
        "dead_share": jnp.mean(sparsity.dead_units(h), dtype=jnp.float32),
        "selectivity": jnp.mean(specialisation.selectivity(means)),
        "owned_share": specialisation.owned_share(specialisation.owners(means)),
        "overlap": specialisation.mean_overlap(specialisation.overlap(means)),
    }
