"""The records of trained and tested runs."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.harness.group import Carry, Group
from experiments.harness.predictions import num_parameters
from sffa_jax.analysis.precision import Predictions
from sffa_jax.scale.processes import to_host
from sffa_jax.training.evaluate import Accuracy

Describe = Callable[[Predictions], dict[str, Any]]

ACCURACIES = (
    *("test_accuracy", "training_accuracy", "validation_accuracy"),
    *("layer_accuracies", "cumulated_accuracies"),
)
"""Entries of a record that are null if the run diverged."""


class Tested(NamedTuple):
    """What tests of a group's selected weights gave, as NumPy arrays, one entry for each run.

    Attributes:
      finite: [runs] whether the weights are finite.
      accuracy, predicted: on the test split; `predicted` may be None.
      learned: [runs] accuracy on training images.
    """

    finite: np.ndarray
    accuracy: Accuracy
    predicted: Predictions | None
    learned: np.ndarray


def run_records(
    group: Group, carry: Carry, tested: Tested, *, selection: str, describe: Describe | None
) -> list[dict[str, Any]]:
    """Returns one record per run, without the names of data set, algorithm and setting.

    Args:
      group, carry: the runs after their last epoch.
      tested: results of their selected weights.
      selection: how the epoch was chosen, a value of the recipe.
      describe: fields of a record from the predictions of its run; None: no such fields.
    """
    # Everything but the weights.
    progress = to_host(carry.runs[0].replace(state=None, best=None))
    chosen, epochs = "validation_accuracy" in carry.history, len(carry.history["loss"])
    records = []
    for i, seed in enumerate(group.seeds):
        history = {name: values[:, i] for name, values in carry.history.items()}
        history["loss"] = history["loss"].mean(axis=-1)
        step = int(progress.diverged_step[i])
        done = step < 0 and bool(tested.finite[i])
        record: dict[str, Any] = {"seed": seed, "status": "done" if done else "diverged"}
        if done:
            best = float(progress.best_accuracy[i]) if selection == "validation" else None
            record |= {
                "test_accuracy": float(tested.accuracy.network[i]),
                "training_accuracy": float(tested.learned[i]),
                "validation_accuracy": best,
                "layer_accuracies": np.asarray(tested.accuracy.layers[i]).tolist(),
                "cumulated_accuracies": np.asarray(tested.accuracy.cumulated[i]).tolist(),
            }
            if describe is not None:
                record |= describe(jax.tree.map(itemgetter(i), tested.predicted))
        else:
            layer = int(progress.diverged_layer[i])
            where = {"step": step, "layer": layer} if step >= 0 else None
            record |= dict.fromkeys(ACCURACIES) | {"diverged": where}
        record |= {
            "selected_epoch": int(progress.best_epoch[i]) if chosen else epochs,
            "epochs": epochs,
            "num_parameters": num_parameters(carry.runs[0].state),
            "train_seconds": float(carry.seconds) / len(group.seeds),
            "history": {"validation_accuracy": [], "validation_layer_accuracies": []}
            | {name: values.tolist() for name, values in history.items()},
        }
        records.append(record)
    return records
