"""Tables of the estimators experiment, made from its records."""

from collections.abc import Sequence

import pandas as pd

from experiments.harness.estimator_runs import CLASS_BY_CLASS, FOLDS, TOGETHER, Setting
from experiments.harness.queries import Records, distinct, where
from experiments.harness.results import Results
from experiments.reports import intervals
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
            ("accuracy, %", Setting(FOLDS), "test_accuracy"),
            ("log loss, nats", Setting(FOLDS), "log_loss"),
            ("log loss, not calibrated", Setting(FOLDS, calibrated=False), "log_loss"),
            ("seconds of a fit", Setting(FOLDS), "train_seconds"),
        ):
            cells = []
            for algorithm in algorithms:
                runs = where(records, dataset=dataset, setting=setting.name, algorithm=algorithm)
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
    algorithms = distinct(runs, "algorithm")
    columns = [(name, calibrated) for calibrated in (True, False) for name in algorithms]
    notes = {True: "", False: ", not calibrated"}
    table = [["Samples stored", "Bytes", *(f"{NAMES[name]}{notes[c]}, %" for name, c in columns)]]
    sizes: dict[Setting, int] = {}
    for run in runs:
        way = Setting(CLASS_BY_CLASS, run["stored"]) if "stored" in run else Setting(TOGETHER)
        sizes.setdefault(way, run.get("stored_bytes", 0))
    for setting, size in sizes.items():
        shown = [setting.name, "-"]
        if setting.stored is not None:
            shown = [f"{setting.stored:,}", f"{size:,}"]
        for algorithm, calibrated in columns:
            name = setting._replace(calibrated=calibrated).name
            cell = where(runs, algorithm=algorithm, setting=name)
            shown.append(plus_minus([run["test_accuracy"] for run in cell]))
        table.append(shown)
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
            f"Mean with the {intervals.ENDS}; a seed draws the folds and the weights. "
            "Not calibrated: all samples train (validation_fraction=0). Class by class: accuracy "
            "on the last fifth of the table, after all classes have come two at a time."
        ),
        tables=tables,
        records=records,
        summary=pd.DataFrame(rows, columns=head),
    )
