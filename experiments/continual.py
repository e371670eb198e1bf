"""Continual learning: scenarios x strategies x algorithms, a few classes at a time.

    python -m experiments.continual --dataset mnist --data-dir DIR --preset protocol --seeds 5

is the grid of the paper (five tasks of two classes, two epochs a task, memory of 500): SFFA with
replay ends at 90 % or above in the class scenario. A second start with the same `--out` goes on
where the last one ended.
"""

import dataclasses
import json
import sys
from typing import Any

import numpy as np
from rich.console import Console

from experiments.config.continual_options import STRENGTHS, Options
from experiments.config.options import RESUMABLE_OPTIONS
from experiments.harness.continual_runs import Cell, Tested, load_data, run_seeds
from experiments.harness.experiment import execute
from experiments.harness.run_folder import RunFolder
from experiments.harness.splits import load_dataset
from experiments.reports import continual_tables, unit_turnover
from experiments.reports.sections import write_report
from sffa_jax import data
from sffa_jax.continual import metrics
from sffa_jax.continual.scenarios import make_scenario, make_stream
from sffa_jax.scale.processes import is_main_process
from sffa_jax.training import augment

TUNING_FACTORS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""What `--tune` multiplies the strengths by."""

TUNING_SEED = 10_000
"""Weights and class order of the tuning runs: no run that is reported has them."""


def record_of(options: Options, cell: Cell, run: Tested) -> dict[str, Any]:
    """What is kept of one run, without the names of cell and seed."""
    accuracy, losses = run.accuracy, run.losses
    matrix, untrained = accuracy[1:, 0], accuracy[0, 0]
    tasks = len(matrix)
    finite = bool(np.isfinite(losses).all())
    diverged = {}
    if not finite:
        first = np.argwhere(~np.isfinite(losses))[0]
        diverged = {"diverged": dict(zip(("task", "step", "layer"), map(int, first), strict=True))}
    by_module = accuracy[-1, 1:].mean(axis=-1)
    # In the class scenario a class that never came has no score: nothing transfers forward.
    forward = None
    if cell.scenario != "class":
        forward = metrics.forward_transfer(matrix, untrained)
    return {
        "status": "done" if finite else "diverged",
        "test_accuracy": metrics.average_accuracy(matrix) if finite else None,
        "validation_accuracy": None,
        "layer_accuracies": by_module.tolist(),
        "epochs": options.epochs,
        "accuracy_matrix": [
            [float(matrix[i, j]) if j <= i else None for j in range(tasks)] for i in range(tasks)
        ],
        "layer_matrices": [
            [[float(rows[i, j]) if j <= i else None for j in range(tasks)] for i in range(tasks)]
            for rows in np.moveaxis(accuracy[1:, 1:], 1, 0)
        ],
        "untrained_accuracies": None if cell.scenario == "class" else untrained.tolist(),
        "learning_curve": metrics.learning_curve(matrix).tolist(),
        "average_accuracy": metrics.average_accuracy(matrix) if finite else None,
        "forgetting": metrics.forgetting(matrix) if finite else None,
        "backward_transfer": metrics.backward_transfer(matrix) if finite else None,
        "forward_transfer": forward if finite else None,
        "neurons": unit_turnover.record_of(run.neurons),
        "stored_floats": run.stored,
        "steps": losses.shape[0] * losses.shape[1],
        "task_losses": losses.mean(axis=(1, 2)).tolist(),
        "train_seconds": run.seconds,
        "task_seconds": run.task_seconds.tolist(),
        **diverged,
    }


def label_of(cell: Cell) -> str:
    """A cell for people."""
    return f"{cell.scenario}, {cell.strategy}, {continual_tables.name_of(cell.algorithm)}"


def tune(options: Options, cell: Cell, dataset: data.Dataset, folder: RunFolder) -> float:
    """The strength with the best final accuracy on held-out training images, kept in a file."""
    usual = STRENGTHS[cell.strategy][cell.algorithm]
    file = folder.path / "tuning.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    for line in map(json.loads, lines):
        if all(line[name] == value for name, value in cell._asdict().items()):
            return float(line["strength"])
    strengths = [usual * factor for factor in TUNING_FACTORS]
    used = load_data(options, dataset, held_out=True)
    runs = run_seeds(
        options,
        cell,
        used,
        [TUNING_SEED] * len(strengths),
        strengths,
        console=Console(),
        label=f"{label_of(cell)}, tuning",
    )
    accuracies = [
        metrics.average_accuracy(run.accuracy[1:, 0]) if np.isfinite(run.losses).all() else -1.0
        for group in runs
        for run in group
    ]
    best = strengths[int(np.argmax(accuracies))]
    tried = {"strength": best, "strengths": strengths, "validation_accuracies": accuracies}
    folder.write(file.name, "\n".join([*lines, json.dumps(cell._asdict() | tried)]) + "\n")
    return best


def main(options: Options) -> None:
    """Runs what is missing in the output folder and writes its report."""
    command = options.command("continual")
    options = options.resolve()
    dataset = load_dataset(options)
    used = load_data(options, dataset, held_out=False)
    # Built first: a wrong option must end the command before it leaves a folder behind.
    order = options.order(dataset.num_classes, 0)
    for kind in options.scenarios:
        scenario = make_scenario(kind, order, options.tasks)
        make_stream(used.train_labels, used.test_labels, order, scenario)
        for algorithm in options.algorithms:
            for strategy in options.strategies:
                options.model_for(strategy, algorithm, scenario, used.shape)
    augment.shift(used.shape, options.memory_shift)
    cells = options.chosen(
        [
            Cell(scenario, strategy, algorithm)
            for scenario in options.scenarios
            for strategy in options.strategies
            for algorithm in options.algorithms
        ]
    )
    extra = {"data": {"source": dataset.source, "sha256": dataset.sha256}, "command": command}
    given = dataclasses.asdict(options)
    console = Console()
    with RunFolder(
        options.folder,
        "continual",
        given,
        extra=extra,
        free=RESUMABLE_OPTIONS,
        absent=options.absent(),
        tensorboard=options.tensorboard,
    ) as folder:
        for number, (cell, seeds) in enumerate(cells, 1):
            names = {"dataset": options.dataset, **cell._asdict()}
            missing = [s for s in seeds if not folder.is_done(**names, seed=s)]
            if not missing:
                continue
            strength = STRENGTHS.get(cell.strategy, {}).get(cell.algorithm)
            if options.tune and strength is not None:
                strength = tune(options, cell, dataset, folder)
            strengths = [strength or 0.0] * len(missing)
            groups = run_seeds(
                options,
                cell,
                used,
                missing,
                strengths,
                folder.checkpoints("run"),
                console=console,
                label=f"[{number}/{len(cells)}] {label_of(cell)}",
                events=folder.events((*cell, f"seed-{seed}") for seed in missing),
            )
            shown = []
            for group in groups:
                records = []
                for run in group:
                    seed = missing[run.position]
                    order = options.order(used.num_classes, seed)
                    own = {"seed": seed, "class_order": order, "strength": strength}
                    records.append(names | own | record_of(options, cell, run))
                folder.append(*records)
                shown += [record["test_accuracy"] for record in records]
            mean = np.mean([a for a in shown if a is not None] or [np.nan])
            print(
                f"[{number}/{len(cells)}] {label_of(cell)}: {100 * mean:.2f} % "
                f"({len(shown)} seeds, {group[0].seconds:.3g} s each)",
                flush=True,
            )
        if not is_main_process():
            return
        write_report(folder, command)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "continual"))
