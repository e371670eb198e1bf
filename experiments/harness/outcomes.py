"""Guard: did a run learn? The one place that decides it, for every table, report and summary."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.config.by_algorithm import options_of
from sffa_jax.data.sources.registry import PUBLISHED

DONE, DIVERGED, DID_NOT_LEARN = "done", "diverged", "did not learn"
"""The values of a record's `status`."""

Record = Mapping[str, Any]


def num_classes(config: Mapping[str, Any]) -> int | None:
    """Returns the number of classes of a folder's data; None if `config.json` does not tell."""
    names = (config.get("data") or {}).get("class_names")
    dataset = config.get("options", {}).get("dataset")
    if not names and dataset in PUBLISHED:
        names = PUBLISHED[dataset].class_names
    return len(names) if names else 10 if dataset == "digits" else None


def least_accuracy(classes: int) -> float:
    """Returns the accuracy below which a classifier has not learned.

    Twice chance; with fewer than ten classes one ninth of the way from chance to 1, because twice
    chance is 1 for two classes.

    >>> least_accuracy(10), least_accuracy(2)
    (0.2, 0.5555555555555556)
    """
    chance = 1 / classes
    return min(2 * chance, chance + (1 - chance) / 9)


def judged(record: Record, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a record with its `status`: "did not learn" instead of "done" if an accuracy or a
    loss is no better than a guess.

    A classifier is judged by its accuracy on training images (of records without it, on test
    images), and by its training loss if that is a cross-entropy of the classes (backprop, and local
    layers with softmax): above log(classes) nats it is worse than a guess. A continual run is
    judged by the mean accuracy on each task right after that task, so that forgetting does not
    count.
    """
    record, classes = dict(record), num_classes(config)
    if record.get("status") != DONE or classes is None or classes < 2:
        return record
    accuracy = record.get("training_accuracy", record["test_accuracy"])
    least = least_accuracy(classes)
    if "accuracy_matrix" in record:
        rows = [[x for x in row if x is not None] for row in record["accuracy_matrix"]]
        order = record.get("class_order") or range(classes)
        of_task = max(2, len(order) // len(rows))
        # In the class scenario an image is scored against all classes seen so far.
        seen = [
            of_task * (task if record["scenario"] == "class" else 1)
            for task in range(1, len(rows) + 1)
        ]
        accuracy = float(np.mean([row[-1] for row in rows]))
        least = float(np.mean([least_accuracy(number) for number in seen]))
    losses = record.get("history", {}).get("loss") or [0.0]
    loss = options_of(config["options"], record["algorithm"]).get("loss")
    of_classes = record["algorithm"] in ("bp", "head") or loss == "softmax"
    lost = of_classes and (losses[-1] or 0.0) > math.log(classes)
    if accuracy < least or lost:
        record["status"] = DID_NOT_LEARN
    return record


def failures(records: Sequence[Record]) -> dict[str, str]:
    """Returns why algorithms cannot be tested, by name: the number of seeds that failed.

    A test over the seeds that did not fail would compare the best of one algorithm with all of
    another.
    """
    reasons = {}
    for algorithm in dict.fromkeys(record["algorithm"] for record in records):
        runs = [record for record in records if record["algorithm"] == algorithm]
        counts = {
            status: sum(record.get("status") == status for record in runs)
            for status in (DID_NOT_LEARN, DIVERGED)
        }
        words = [
            f"{status} in {number} of {len(runs)} runs"
            for status, number in counts.items()
            if number
        ]
        if words:
            reasons[algorithm] = " and ".join(words)
    return reasons


def failure(records: Sequence[Record]) -> str:
    """Returns why the runs of one algorithm cannot be tested; "" if all learned.

    >>> failure([{"algorithm": "bp", "status": "diverged"}, {"algorithm": "bp", "status": "done"}])
    'diverged in 1 of 2 runs'
    """
    return next(iter(failures(records).values()), "")


def marked(cell: str, records: Sequence[Record]) -> str:
    """Returns a table's cell with the failures of its runs."""
    words = failure(records)
    return f"{cell} ({words})" if words else cell
