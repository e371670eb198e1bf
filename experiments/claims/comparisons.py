"""Tables of the docs about runs of `experiments.compare`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.claims import machine_time
from experiments.config import options as shared
from experiments.harness.outcomes import failures, finished, marked
from experiments.harness.queries import Records, where
from experiments.harness.results import Results
from experiments.reports import comparison_tables, cost_tables, intervals
from experiments.reports.names import ALGORITHM_NAMES

ROOT = Path(__file__).parents[2]


def name_of(run: Results) -> str:
    """Returns the folder's path under `results/`."""
    return run.path.relative_to(ROOT / "results").as_posix()


def accuracies(run: Results, algorithm: str) -> list[float]:
    """Returns the test accuracy of every seed that did not diverge."""
    return list(comparison_tables.accuracies(run.records).get(algorithm, {}).values())


def flags_of(run: Results) -> list[str]:
    """Returns the options of a run that differ from the command's defaults, as they are typed."""
    defaults = shared.Options.defaults([f"--preset={run.options['preset']}"]).usual()
    defaults |= {"algorithms": run.options["algorithms"]}  # the columns show them
    # Options that only `compare` has.
    defaults |= {"split": "seed", "tune": 0, "tune_seeds": 2, "tune_epochs": None}
    ignored = {*shared.RESUMABLE_OPTIONS} - {"seeds", "algorithms"}
    if run.options["selection"] != "validation" and not run.options.get("tune"):
        ignored |= {"split"}  # nothing is held out
    options = {name: value for name, value in run.options.items() if name not in ignored}
    return shared.flags(options, defaults)


def code(flags: Sequence[str]) -> str:
    """Formats options as code in Markdown."""
    return f"`{' '.join(flags)}`" if flags else "no option"


def network_of(run: Results) -> str:
    """Returns data set and layers of a run."""
    maps = "-".join(map(str, run.options.get("channels") or ()))
    units = "-".join(map(str, run.options["hidden"]))
    layers = [f"{maps} maps"] * bool(maps) + [units] * bool(units)
    return f"{run.options['dataset']}, {', '.join(layers)}"


def comparison(runs: Sequence[Results]) -> list[list[str]]:
    """Makes a row for each run of `compare`."""
    table = [["Network", "Seeds", "FFA", "SFFA", "Backprop", "`experiments.compare` with", "On"]]
    for run in runs:
        algorithms = ("ffa", "sffa", "bp")
        results = [accuracies(run, algorithm) for algorithm in algorithms]
        options = f"{code(flags_of(run))} ([raw](results/{name_of(run)}))"
        table.append(
            [
                network_of(run),
                str(max(map(len, results))),
                *(
                    marked(intervals.plus_minus(values), where(run.records, algorithm=name))
                    for name, values in zip(algorithms, results, strict=True)
                ),
                options,
                machine_time.device_name(run),
            ]
        )
    return table


def overview(runs: Sequence[Results]) -> list[list[str]]:
    """Makes the first page's table: runs of `compare`, and class-incremental replay."""
    table = [["Data, hidden units", "Seeds", "FFA", "SFFA", "Backprop", "Two cores", "Command"]]
    for run in runs:
        algorithms = ("ffa", "sffa", "bp")
        about = "" if machine_time.is_measured(run) else "≈ "
        records: Records = run.records
        if run.experiment == "compare":
            name, options = network_of(run), flags_of(run)
            values = [accuracies(run, algorithm) for algorithm in algorithms]
            minutes = machine_time.two_core_minutes(
                ROOT / "results", name_of(run), run.options["seeds"]
            )
        else:
            name = f"{network_of(run)}, two new classes at a time, {run.options['memory']} stored"
            options = [f"--{name} {run.options[name]}" for name in ("dataset", "preset", "seeds")]
            options += ["--scenarios class", "--strategies replay"]
            records = where(run.records, scenario="class", strategy="replay")
            values = [
                [r["average_accuracy"] for r in finished(records, algorithm=algorithm)]
                for algorithm in algorithms
            ]
            minutes = sum(r["train_seconds"] for r in records) / 60
        table.append(
            [
                f"[{name}](results/{name_of(run)})",
                str(max(map(len, values))),
                *(
                    marked(intervals.plus_minus(of), where(records, algorithm=algorithm))
                    for of, algorithm in zip(values, algorithms, strict=True)
                ),
                "-" if minutes is None else about + duration(minutes),
                code([f"python -m experiments.{run.experiment}", *options]),
            ]
        )
    return table


def variants(runs: Sequence[Results]) -> list[list[str]]:
    """Makes a row for each run of `compare` and algorithm, named by the options that runs do not
    share: the accuracy on test, held-out and training images."""
    flags = [flags_of(run) for run in runs]
    common = set.intersection(*map(set, flags))
    parts = ("test", "validation", "training")
    table = [["Options", "Algorithm", "Test, %", "Held-out, %", "Training, %", "Seconds / run"]]
    for run, words in zip(runs, flags, strict=True):
        options = code([flag for flag in words if flag not in common])
        for algorithm, records in cost_tables.by_algorithm(run.records).items():
            table.append(
                [
                    f"{options} ([raw](results/{name_of(run)}))",
                    ALGORITHM_NAMES[algorithm],
                    *(
                        intervals.plus_minus([r[f"{part}_accuracy"] for r in records])
                        for part in parts
                    ),
                    f"{np.mean([record['train_seconds'] for record in records]):.0f}",
                ]
            )
    return table


def duration(minutes: float) -> str:
    """Returns a time in its unit: seconds, minutes or hours.

    >>> duration(0.5), duration(42), duration(628)
    ('30 s', '42 min', '10 h')
    """
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.0f} h"


def tests(runs: Sequence[Results]) -> list[list[str]]:
    """Makes a row for each paired test of runs of `compare`; Holm's correction is over all rows."""
    rows = [
        (name_of(run), test)
        for run in runs
        for test in intervals.paired_tests(
            comparison_tables.accuracies(run.records), failures(run.records), corrected=False
        )
    ]
    corrected = intervals.holm_corrected([test for _, test in rows])
    return [
        ["Run", *comparison_tables.TESTS],
        *(
            [name, *comparison_tables.test_row(test)]
            for (name, _), test in zip(rows, corrected, strict=True)
        ),
    ]


def depth(runs: Sequence[Results]) -> list[list[str]]:
    """Makes a row for each run and algorithm: accuracy by layer, alone and cumulated."""
    tables = [(network_of(run), comparison_tables.layers_table(run.records)) for run in runs]
    return joined("Network", tables)


def epochs(runs: Sequence[Results]) -> list[list[str]]:
    """Makes a row for each run of `compare` and algorithm: the epochs to given accuracies."""
    return joined("Run", [(name_of(run), cost_tables.epochs_table(run.records)) for run in runs])


def joined(title: str, tables: Sequence[tuple[str, list[list[str]]]]) -> list[list[str]]:
    """Joins tables with the same header, each with a name in a first column.

    >>> joined("Run", [("a", [["x"], ["1"]]), ("b", [["x"], ["2"]])])
    [['Run', 'x'], ['a', '1'], ['b', '2']]
    """
    (header,) = {tuple(table[0]) for _, table in tables}
    return [[title, *header], *([name, *row] for name, table in tables for row in table[1:])]
