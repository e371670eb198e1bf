"""Names in reports; commands import this module without the libraries that draw."""

ALGORITHM_NAMES = {"ffa": "FFA", "sffa": "SFFA", "bp": "Backprop"}

TRAINED = {"ffa": "each layer by itself", "sffa": "each layer by itself", "bp": "end to end"}
"""The part of the network that a gradient reaches."""

SCENARIO_NAMES = {
    "class": "class-incremental",
    "domain": "domain-incremental",
    "task": "task-incremental",
}


def algorithm_name(algorithm: str) -> str:
    """Returns an algorithm's name in reports."""
    return ALGORITHM_NAMES.get(algorithm, algorithm)
