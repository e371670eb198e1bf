"""Tables of the estimators experiment, made from its records."""

from collections.abc import Sequence

import pandas as pd

from experiments.harness.queries import Records, distinct, where
from experiments.harness.results import Results
from experiments.reports.html_report import Section
from experiments.reports.intervals import plus_minus
from experiments.reports.names import ALGORITHM_NAMES

NAMES = ALGORITHM_NAMES | {"mlp": "MLPClassifier", "logistic": "LogisticRegression"}


def folds_table(records: Records) -> list[list[str]]:
    """Makes rows for each table of features: accuracy, log loss and time in five folds."""
    algorithms = distinct(records, "algorithm")
    table = [["Data", "Five folds", *(NAMES[algorithm] for algorithm in algorithms)]]
    for dataset in distinct(records, "dataset"):
        for label, setting, field in (
            ("accuracy, %", "five folds", "test_accuracy"),
            ("log loss, nats", "five folds", "log_loss"),
            ("log loss, not calibrated", "five folds, not calibrated", "log_loss"),
            ("seconds of a fit", "five folds", "train_seconds"),
        ):
            cells = []
            for algorithm in algorithms:
                runs = where(records, dataset=dataset, setting=setting, algorithm=algorithm)
                cells.append(_cell([run[field] for run in runs], field))
            if {*cells} != {"-"}:
                table.append([dataset, label, *cells])
    return table


def _cell(values: Sequence[float], field: str) -> str:
    if field == "test_accuracy":
        return plus_minus(values)
    if field == "log_loss":
        return plus_minus(values, ".3f", 1, bounds=None)
    return f"{sum(values) / len(values):.2g}" if values else "-"


def classes_table(records: Records) -> list[list[str]]:
    """Makes a row for each number of stored samples: accuracy on all classes after they came two at
    a time, and the accuracy of classes that came together."""
    runs = [record for record in records if "fold_accuracies" not in record]
    columns = [
        (algorithm, note)
        for note in ("", ", not calibrated")
        for algorithm in distinct(runs, "algorithm")
    ]
    table = [["Samples stored", "Bytes", *(f"{NAMES[name]}{note}, %" for name, note in columns)]]
    for setting in distinct(runs, "setting"):
        if setting.endswith(", not calibrated"):
            continue
        first = where(runs, setting=setting)[0]
        shown = [setting, "-"]
        if "stored" in first:
            shown = [f"{first['stored']:,}", f"{first['stored_bytes']:,}"]
        cells = [where(runs, algorithm=name, setting=setting + note) for name, note in columns]
        table.append([*shown, *(plus_minus([run["test_accuracy"] for run in c]) for c in cells)])
    return table


def section(results: Results) -> Section:
    """Makes the report of an estimators experiment."""
    records = results.records
    tables = {"Five folds": folds_table(records)}
    if any("stored" in record for record in records):
        tables["Class by class"] = classes_table(records)
    head, *rows = tables["Five folds"]
    return Section(
        title=f"Estimators on {results.options['dataset']}",
        lead=(
            "Mean over seeds ± half of the 95 % interval; a seed draws the folds and the weights. "
            "Not calibrated: all samples train (validation_fraction=0). Class by class: accuracy "
            "on the last fifth of the table, after all classes have come two at a time."
        ),
        tables=tables,
        records=records,
        summary=pd.DataFrame(rows, columns=head),
    )
