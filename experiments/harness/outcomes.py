"""Guard: did a run learn? The one place that decides it, for every table, report and summary."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.harness.queries import Record, Records, distinct, where
from sffa_jax.data.sources.registry import PUBLISHED

DONE, DIVERGED, DID_NOT_LEARN = "done", "diverged", "did not learn"
"""The values of a record's `status`."""


def num_classes(config: Mapping[str, Any]) -> int | None:
    """Returns the number of classes of a folder's data; None if `config.json` does not tell."""
    names = (config.get("data") or {}).get("class_names")
    dataset = config.get("options", {}).get("dataset")
    if not names and dataset in PUBLISHED:
        names = PUBLISHED[dataset].class_names
    return len(names) if names else 10 if dataset == "digits" else None


def best_guess(config: Mapping[str, Any], classes: int) -> float:
    """Returns the accuracy of one label for every image: the training split's most frequent one."""
    counts = (config.get("data") or {}).get("training_images")
    return max(counts) / sum(counts) if counts else 1 / classes


def least_accuracy(guess: float) -> float:
    """Returns the accuracy below which a classifier has not learned.

    Twice the accuracy of a guess; from one tenth on, one ninth of the way from it to 1, because
    twice the guess is 1 for two classes.

    >>> least_accuracy(1 / 10), least_accuracy(1 / 2)
    (0.2, 0.5555555555555556)
    """
    return min(2 * guess, guess + (1 - guess) / 9)


def judged(record: Record, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a record with its `status`: "did not learn" instead of "done" if its accuracy is
    hardly better than a guess.

    A classifier is judged by its accuracy on training images (of records without it, on images that
    did not train). A continual run is judged by the mean accuracy on each task right after that
    task, so that forgetting does not count.
    """
    record, classes = dict(record), num_classes(config)
    if record.get("status") != DONE or classes is None or classes < 2:
        return record
    names = ("training_accuracy", "test_accuracy", "probe_accuracy")
    accuracy = next(record[name] for name in names if name in record)
    least = least_accuracy(best_guess(config, classes))
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
        least = float(np.mean([least_accuracy(1 / number) for number in seen]))
    if accuracy < least:
        record["status"] = DID_NOT_LEARN
    return record


def finished(records: Records, **fields: Any) -> list[Record]:
    """Returns the records of runs that did not diverge, with these values of fields."""
    return [record for record in where(records, **fields) if record.get("status") != DIVERGED]


def failures(records: Records) -> dict[str, str]:
    """Returns why algorithms cannot be tested, by name: the number of seeds that failed.

    A test over the seeds that did not fail would compare the best of one algorithm with all of
    another.
    """
    reasons = {}
    for algorithm in distinct(records, "algorithm"):
        runs = where(records, algorithm=algorithm)
        words = [
            f"{status} in {number} of {len(runs)} runs"
            for status in (DID_NOT_LEARN, DIVERGED)
            if (number := len(where(runs, status=status)))
        ]
        if words:
            reasons[algorithm] = " and ".join(words)
    return reasons


def failure(records: Records) -> str:
    """Returns why the runs of one algorithm cannot be tested; "" if all learned.

    >>> failure([{"algorithm": "bp", "status": "diverged"}, {"algorithm": "bp", "status": "done"}])
    'diverged in 1 of 2 runs'
    """
    return next(iter(failures(records).values()), "")


def marked(cell: str, records: Records) -> str:
    """Returns a table's cell with the failures of its runs."""
    words = failure(records)
    return f"{cell} ({words})" if words else cell
