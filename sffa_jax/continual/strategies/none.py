"""Plain fine-tuning: the lower bound of every comparison."""

from sffa_jax.continual.strategy import Strategy


def none() -> Strategy:
    """Trains on the samples of each task without any method against forgetting."""
    return Strategy()
