"""Tables of the records, made from their records and `config.json`."""

import numpy as np
import pandas as pd

from experiments.config.by_algorithm import recipe_for
from experiments.config.recipe import Recipe
from experiments.config.record_rows import COMPARED, ROWS, augmentation_of, votes_of
from experiments.harness import outcomes
from experiments.harness.queries import Records, distinct, in_order, where
from experiments.harness.results import Results
from experiments.reports import comparison_tables, intervals
from experiments.reports.html_report import Section
from experiments.reports.names import ALGORITHM_NAMES, trained

HEAD = [
    *("Row", "Algorithm", "Accuracy, %", "on", "Trained", "Augmentation", "Training images"),
    *("Epochs", "Predicts by", "Each layer alone, %", "Seconds / run"),
]


def ordered(records: Records) -> Records:
    """Sorts records in the order of `ROWS`, SFFA first."""
    return in_order(records, {"setting": [*ROWS], "algorithm": COMPARED})


def records_table(records: Records) -> list[list[str]]:
    """Makes a row for each row of the records and algorithm, in order."""
    records = ordered(records)
    table = [HEAD]
    for setting, algorithm in distinct(records, "setting", "algorithm"):
        runs = where(records, setting=setting, algorithm=algorithm)
        recipe = recipe_for(Recipe(), runs[0]["recipe"])
        accuracies = comparison_tables.accuracies(runs).get(algorithm, {})
        layers = [run["layer_accuracies"] for run in runs if run["layer_accuracies"]]
        each = [f"{100 * mean:.1f}" for mean in np.mean(layers, axis=0)] if layers else []
        table.append(
            [
                setting,
                ALGORITHM_NAMES[algorithm],
                outcomes.marked(intervals.with_bounds(list(accuracies.values())), runs),
                runs[0]["tested_on"],
                trained(algorithm, runs[0]["recipe"]),
                augmentation_of(recipe),
                f"{runs[0]['images']}",
                f"{recipe.epochs}",
                votes_of(recipe, algorithm),
                "-" if algorithm == "bp" else " / ".join(each) or "-",
                f"{np.mean([run['train_seconds'] for run in runs]):.0f}",
            ]
        )
    return table


def section(results: Results) -> Section:
    """Makes the report of records."""
    records = ordered(results.records)
    tables = {"Records": records_table(records)}
    for setting in distinct(records, "setting"):
        tests = comparison_tables.tests_table(where(records, setting=setting))
        if len(tests) > 1:
            tables[f"{setting}: paired tests"] = tests
    return Section(
        title=f"Records on {results.options['dataset']}",
        lead=(
            "Strictly local: a layer's parameters see the gradient of its own loss only, which has "
            "no other parameters. With a local head: the loss has a trained function of its own. "
            "The layers that predict are those of the recipe, or were chosen on held-out training "
            "images in a shorter run. "
            "Rows of small networks are trained on some training images and tested on others."
        ),
        tables=tables,
        records=records,
        summary=pd.DataFrame(tables["Records"][1:], columns=HEAD),
    )
