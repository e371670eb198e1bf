"""Plain fine-tuning: the lower bound of every comparison."""

from sffa_jax.continual.strategy import Strategy


def none() -> Strategy:
    """Learns each task from its own samples and does nothing against forgetting."""
    return Strategy()
