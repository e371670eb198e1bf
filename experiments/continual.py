"""Continual learning: scenarios x strategies x algorithms, a few classes at a time.

    python -m experiments.continual --dataset mnist --data-dir DIR --preset protocol --seeds 5

is the grid of the paper (five tasks of two classes, two epochs per task, a buffer of 500 images):
SFFA with replay reaches at least 90 % in the class scenario. A second start with the same `--out`
resumes the first.
"""

import sys
from collections.abc import Iterator
from typing import Any

from experiments.config.cli import answer_usage
from experiments.config.continual_options import Options, Setting
from experiments.reports.names import algorithm_name

if __name__ == "__main__":
    answer_usage(Options, "continual")

import numpy as np

from experiments.harness.continual_records import chosen_numbers, record_of
from experiments.harness.continual_runs import check_setting, load_data, run_seeds
from experiments.harness.experiment import Cell, Missing, Plan, execute, run_experiment
from experiments.harness.run_folder import RunFolder
from experiments.harness.splits import data_record, load_dataset


def label_of(setting: Setting) -> str:
    """A setting's name in progress lines."""
    algorithm = algorithm_name(setting.algorithm)
    return f"{setting.scenario}, {setting.strategy}, {algorithm}"


def make_plan(options: Options) -> Plan:
    """One cell for each scenario, strategy and algorithm."""
    dataset = load_dataset(options)
    loaded = load_data(options, dataset, held_out=options.held_out)
    settings = options.settings()
    for setting in settings:
        check_setting(options, setting, loaded)

    def run(folder: RunFolder, missing: Missing) -> Iterator[list[dict[str, Any]]]:
        for number, (cell, seeds) in enumerate(missing, 1):
            setting = Setting(**cell.names)
            label = f"[{number}/{len(missing)}] {label_of(setting)}"
            chosen = chosen_numbers(options, setting, dataset, folder, label_of(setting))
            groups = run_seeds(
                options,
                setting,
                loaded,
                seeds,
                [chosen.numbers] * len(seeds),
                folder.checkpoints("run"),
                label=label,
                events=folder.events((*setting, f"seed-{seed}") for seed in seeds),
            )
            accuracies, seconds = [], 0.0
            for group in groups:
                records = []
                for result in group:
                    seed = seeds[result.position]
                    order = options.order(loaded.num_classes, seed)
                    run = {"seed": seed, "class_order": order, "strength": chosen.strength}
                    run["learning_rate"] = chosen.learning_rate
                    run |= {f"{name}_at_edge": True for name in chosen.at_edge}
                    records.append({**cell.names, **run, **record_of(options, setting, result)})
                    seconds = result.seconds
                accuracies += [record["test_accuracy"] for record in records]
                yield records
            mean = np.mean([a for a in accuracies if a is not None] or [np.nan])
            print(
                f"{label}: {100 * mean:.2f} % ({len(accuracies)} seeds, {seconds:.3g} s each)",
                flush=True,
            )

    cells = [Cell(setting._asdict()) for setting in settings]
    return Plan(cells, run, data_record(dataset))


def main(options: Options) -> None:
    """Trains the runs that the output folder lacks and writes its report."""
    run_experiment("continual", options, make_plan)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "continual"))
