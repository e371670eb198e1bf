"""Names in reports; commands import this module without the libraries that draw."""

from collections.abc import Mapping
from typing import Any

from experiments.config.by_algorithm import options_of
from experiments.harness.queries import Records, distinct

ALGORITHM_NAMES = {
    "ffa": "FFA",
    "sffa": "SFFA",
    "bp": "Backprop",
    "head": "Local linear head",
    "readout": "Closed form",
}

SCENARIO_NAMES = {
    "class": "class-incremental",
    "domain": "domain-incremental",
    "task": "task-incremental",
}


def algorithm_name(algorithm: str) -> str:
    """Returns an algorithm's name in reports."""
    return ALGORITHM_NAMES.get(algorithm, algorithm)


def named(records: Records) -> str:
    """Returns the algorithms of records, for titles.

    >>> named([{"algorithm": "ffa"}, {"algorithm": "sffa"}, {"algorithm": "bp"}])
    'FFA, SFFA and Backprop'
    """
    *others, last = map(algorithm_name, distinct(records, "algorithm"))
    return f"{', '.join(others)} and {last}" if others else last


def trained(algorithm: str, options: Mapping[str, Any]) -> str:
    """Returns what a gradient reaches, from recorded options.

    >>> trained("sffa", {"second_term": "contrast"})
    'with a local head'
    """
    if algorithm == "bp":
        return "end to end"
    heads = options_of(options, algorithm).get("second_term") in ("contrast", "similarity_head")
    return "with a local head" if heads or algorithm == "head" else "strictly local"
