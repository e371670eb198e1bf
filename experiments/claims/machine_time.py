"""Machine time of the committed runs, and of the same runs on two cores."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.harness.queries import Records, where
from experiments.harness.results import Results, load_results

TWO_CORE_RUNS = {
    "compare/paper_mnist": "compare/released_mnist",
    "compare/paper_fashion_mnist": "compare/released_mnist",
    "compare/mnist": "compare/mnist_2_cores",
    "compare/fashion_mnist": "compare/mnist_2_cores",
    **{
        f"compare/polar_ffa_{data}_{activation}": "compare/polar_ffa_2_cores"
        for data in ("mnist", "fashion_mnist")
        for activation in ("relu", "sigmoid", "tanh")
    },
}
"""For runs made on an accelerator: runs of networks of the same size on two cores."""


def timed_runs(results: Results) -> Records:
    """Returns the records that have a training time."""
    return [record for record in results.records if "train_seconds" in record]


def two_core_minutes(root: Path, folder: str, seeds: int) -> float | None:
    """Returns the minutes that a folder's runs take on two cores.

    They are those of the runs, if these had a CPU; or the number of epochs times the seconds per
    epoch of a short run.

    Args:
      root: holds the folders of results.
      folder: whose runs are meant.
      seeds: number of seeds; ignored for a grid of settings with one seed each.

    Returns:
      None if neither was recorded.
    """
    results = load_results(root / folder)
    runs = timed_runs(results)
    if not runs:
        return None
    recorded_seeds = len({run["seed"] for run in runs})
    if results.experiment == "robustness":
        seeds = recorded_seeds
    if on_cpu(results):
        return sum(run["train_seconds"] for run in runs) / 60 * seeds / recorded_seeds
    if folder not in TWO_CORE_RUNS or not (root / TWO_CORE_RUNS[folder] / "config.json").exists():
        return None
    algorithms = {run["algorithm"] for run in runs}
    short_runs = timed_runs(load_results(root / TWO_CORE_RUNS[folder]))
    seconds_per_epoch = sum(
        np.mean([r["train_seconds"] / r["epochs"] for r in where(short_runs, algorithm=name)])
        for name in algorithms
    )
    return float(seconds_per_epoch) * runs[0]["epochs"] * seeds / 60


def on_cpu(results: Results) -> bool:
    """Whether the runs were made on a CPU."""
    return bool(results.config["device"]["platform"] == "cpu")


def device_name(results: Results) -> str:
    """Returns the device of the runs, or their number of cores."""
    device = results.config["device"]
    if not on_cpu(results):
        return str(device["kind"])
    cores = device["host_cores"]
    if cores is None:  # its starts had several numbers of cores
        return "CPU"
    return "1 core" if cores == 1 else f"{cores} cores"


def is_measured(results: Results) -> bool:
    """Whether the runs were made on two cores, so that their times are no estimates."""
    return on_cpu(results) and results.config["device"]["host_cores"] == 2


def format_minutes(minutes: float) -> str:
    """Formats minutes with three digits."""
    return f"{minutes:.3g}" if minutes < 100 else f"{minutes:.0f}"


def table(root: Path, folders: Sequence[str], seeds: int = 10) -> list[list[str]]:
    """Makes a row for each folder: the time its runs took, and the time of `seeds` seeds on
    two cores."""
    rows = [["Step", "Runs", "On", "Seconds a run", "Minutes in all"]]
    rows[0].append(f"Minutes for {seeds} seeds on 2 cores")
    total = 0.0
    for folder in folders:
        if not (root / folder / "config.json").exists():
            rows.append([folder, "not run", *"----"])
            continue
        results = load_results(root / folder)
        runs = timed_runs(results)
        if not runs:
            rows.append([folder, str(len(results.records)), "-", "not recorded", "-", "-"])
            continue
        seconds = [run["train_seconds"] for run in runs]
        minutes = two_core_minutes(root, folder, seeds)
        about = "" if is_measured(results) else "≈ "
        total += minutes or 0.0
        rows.append(
            [
                folder,
                str(len(runs)),
                device_name(results),
                f"{np.mean(seconds):.3g}",
                format_minutes(sum(seconds) / 60),
                "-" if minutes is None else about + format_minutes(minutes),
            ]
        )
    rows.append(["all steps", *"----", f"≈ {total / 60:.1f} hours"])
    return rows
