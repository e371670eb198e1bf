"""Tables of a search for each algorithm's numbers: the space, the choice, and what trials buy."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from experiments.config.options import Options
from experiments.config.search_space import search_space
from experiments.harness.queries import Records, where
from experiments.harness.results import Results, restore_options
from experiments.harness.tuning import best_trial, mean_accuracies, read_trials, tuned_flags
from experiments.reports.html_report import Section
from experiments.reports.names import ALGORITHM_NAMES


def expected_best(accuracies: Sequence[float], number: int) -> float:
    """Computes the expected greatest accuracy of `number` trials, drawn from those that were made.

    Reference: Dodge et al. 2019, Show Your Work, EMNLP, equation 4.

    >>> expected_best([0.25, 0.75], 1), expected_best([0.25, 0.75], 2)
    (0.5, 0.625)
    """
    ordered, made = np.sort(accuracies), len(accuracies)
    below = (np.arange(made + 1) / made) ** number
    return float(np.sum(ordered * np.diff(below)))


def algorithms(trials: Records) -> list[str]:
    """Returns the algorithms that were tuned, in the order of reports."""
    return [name for name in ALGORITHM_NAMES if where(trials, algorithm=name)]


def choice_table(trials: Records) -> list[list[str]]:
    """Makes a row for each algorithm: its budget, its best trial and that trial's options."""
    table = [["Algorithm", "Trials", "Runs", "Diverged", "Validation, %", "Chosen options"]]
    for algorithm in algorithms(trials):
        runs = where(trials, algorithm=algorithm)
        numbers, accuracy = best_trial(trials, algorithm)
        diverged = sum(run["validation_accuracy"] is None for run in runs)
        counts = [str(n) for n in (len(mean_accuracies(runs)), len(runs), diverged)]
        options = tuned_flags(algorithm, numbers)
        table.append([ALGORITHM_NAMES[algorithm], *counts, f"{100 * accuracy:.2f}", options])
    return table


def space_table(trials: Records, options: Options) -> list[list[str]]:
    """Makes a row for each number of each algorithm: its range, and what was chosen of it."""
    table = [["Algorithm", "Number", "Range", "Scale", "Chosen", "Note"]]
    for algorithm in algorithms(trials):
        numbers, _ = best_trial(trials, algorithm)
        for name, tried in search_space(options.recipe_of(algorithm), algorithm).items():
            edge = tried.edge(numbers[name])
            table.append(
                [
                    ALGORITHM_NAMES[algorithm],
                    name,
                    f"{tried.low:g} to {tried.high:g}",
                    "logarithmic" if tried.log else "linear",
                    f"{numbers[name]:g}",
                    f"at the {edge} edge: a better value may lie beyond" if edge else "",
                ]
            )
    return table


def expected_table(trials: Records) -> list[list[str]]:
    """Makes a row for each algorithm: the expected best validation accuracy of n trials."""
    made = max(len(mean_accuracies(where(trials, algorithm=name))) for name in algorithms(trials))
    numbers = [2**k for k in range(made.bit_length())]
    numbers += [made] * (made not in numbers)
    table = [["Algorithm", *(f"n = {number}" for number in numbers)]]
    for algorithm in algorithms(trials):
        means = list(mean_accuracies(where(trials, algorithm=algorithm)).values())
        cells = [f"{100 * expected_best(means, number):.2f}" for number in numbers]
        table.append([ALGORITHM_NAMES[algorithm], *cells])
    return table


def tables(results: Results) -> dict[str, list[list[str]]]:
    """Returns the tables of the search in a folder, by heading; none if nothing was tuned."""
    trials = read_trials(results.path)
    if not trials:
        return {}
    options = restore_options(results.options)
    return {
        "Tuning": choice_table(trials),
        "Tuning: space and choice": space_table(trials, options),
        "Tuning: expected best validation accuracy of n trials, %": expected_table(trials),
    }


def command_without_tuning(results: Results) -> str:
    """Returns the command that repeats the runs of a comparison without their search."""
    of_search = ["tune", "tune-seeds", "tune-epochs"]
    if results.options["selection"] != "validation":  # only the search held images out
        of_search += ["validation", "split"]
    command = re.sub(rf" --({'|'.join(of_search)}) \S+", "", results.command)
    tuned = results.config["tuned"]
    return " ".join([command, *(tuned_flags(name, tuned[name]) for name in tuned)])


def section(results: Results) -> Section:
    """Makes the report of a search."""
    trials = read_trials(results.path)
    head, *rows = choice_table(trials)
    names = ", ".join(ALGORITHM_NAMES[name] for name in algorithms(trials))
    return Section(
        title=f"Tuning of {names} on {results.options['dataset']}",
        lead=(
            "Every algorithm has the same number of trials, seeds and epochs, and the same points "
            "in the numbers that algorithms share. The choice is by mean validation accuracy over "
            "seeds from 1000; no trial saw the test split. The expected best accuracy (Dodge et "
            "al. 2019) shows whether more trials would help."
        ),
        tables=tables(results),
        records=trials,
        summary=pd.DataFrame(rows, columns=head),
    )
