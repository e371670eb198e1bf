"""FFA, SFFA and backprop on the same images, batches and widths, over seeds.

    python -m experiments.compare --dataset mnist --data-dir DIR --hidden 1400 --epochs 10 --seeds 3

reaches a mean test accuracy of at least 97.5 % (SFFA), 94 % (FFA) and 98 % (backprop) within a
few minutes on two cores; `results/compare` holds every seed of it.
"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.command import execute
from experiments.presets import ALGORITHMS, PRESETS, make_learner
from experiments.run_folder import RunFolder
from sffa_jax import data, report
from sffa_jax.checks import check_choice, check_integer, check_range, reject
from sffa_jax.learner import Learner
from sffa_jax.negatives import NEGATIVES
from sffa_jax.sweep import WAYS, fastest, seed_keys, spread
from sffa_jax.train import (
    Samples,
    Schedule,
    evaluate,
    keep_best,
    make_samples,
    start,
    train_epoch,
)

TRIAL_STEPS = 8
"""Updates in the trial that decides how seeds are spread."""

# Options that do not change any single run, so that a second start may change them.
FREE_OPTIONS = ("out", "data_dir", "seeds", "algorithms", "parallel")


@dataclass(frozen=True)
class Options:
    """Train FFA, SFFA and backprop on every seed and compare their test accuracies."""

    dataset: str = "digits"
    """Data set: digits (embedded), mnist, fashion_mnist or kmnist."""
    data_dir: Path | None = None
    """Folder with one sub-folder per set holding the published files; or set SFFA_DATA_DIR."""
    algorithms: tuple[str, ...] = ALGORITHMS
    """Algorithms to compare: ffa, sffa, bp."""
    seeds: int = 10
    """Number of seeds; the seeds are 0 .. N-1."""
    preset: str = "two_pass"
    """Recipe: two_pass (sharp log-odds, cosine decay) or paper (the released protocol)."""
    hidden: tuple[int, ...] | None = None
    """Width of each hidden layer, e.g. 1400 1400; the preset's if left out."""
    epochs: int | None = None
    """Passes over the training split; the preset's if left out."""
    batch_size: int | None = None
    """Images per update; the preset's if left out."""
    learning_rate: float | None = None
    """Adam's learning rate; the preset's if left out."""
    negatives: str = "uniform"
    """Wrong labels a step contrasts with the true one: uniform, hard or all."""
    winners: int | None = None
    """Units that stay active in each half of a forward-only layer; all if left out."""
    validation: float = 1 / 12
    """Share of the training images held out to choose the weights."""
    out: Path | None = None
    """Folder for the results; a second start with the same folder continues it."""
    parallel: str = "auto"
    """How seeds are spread: vmap, map, or auto (the faster, measured)."""


def resolve(options: Options) -> Options:
    """Fills in the preset's values and checks every option.

    Raises:
      ValueError: naming the first option that cannot be used.
    """
    check_choice("compare", "dataset", options.dataset, data.NAMES)
    check_choice("compare", "preset", options.preset, PRESETS)
    check_choice("compare", "parallel", options.parallel, ["auto", *WAYS])
    check_choice("compare", "negatives", options.negatives, NEGATIVES)
    if not options.algorithms:
        raise reject("compare", "algorithms", f"name one of {', '.join(ALGORITHMS)}", "none")
    for algorithm in options.algorithms:
        check_choice("compare", "algorithms", algorithm, ALGORITHMS)
    check_integer("compare", "seeds", options.seeds, 1)
    check_range("compare", "validation", options.validation, above=0, at_most=0.9)
    preset = PRESETS[options.preset]
    return dataclasses.replace(
        options,
        algorithms=tuple(dict.fromkeys(options.algorithms)),
        **{
            name: getattr(preset, name)
            for name in ("hidden", "epochs", "batch_size", "learning_rate")
            if getattr(options, name) is None
        },
    )


def load_splits(options: Options) -> tuple[data.Dataset, Samples, Samples, Samples]:
    """The data set, and its training, validation and test split on the device."""
    dataset = data.load(options.dataset, options.data_dir)
    train, validation = data.stratified_split(dataset.train_labels, options.validation, seed=0)
    images, labels = dataset.train_images, dataset.train_labels
    mean, std = data.statistics(images[train])
    scale: dict[str, Any] = {"mean": mean, "std": std, "num_classes": dataset.num_classes}
    return (
        dataset,
        make_samples(images[train], labels[train], **scale),
        make_samples(images[validation], labels[validation], **scale),
        make_samples(dataset.test_images, dataset.test_labels, **scale),
    )


def describe(options: Options) -> str:
    """The command that repeats the run."""
    words = ["python -m experiments.compare"]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value != field.default and field.name != "out":
            values = value if isinstance(value, tuple) else (value,)
            words.append(f"--{field.name.replace('_', '-')} {' '.join(map(str, values))}")
    return " ".join(words)


def train_seeds(
    learner: Learner,
    schedule: Schedule,
    seeds: Sequence[int],
    splits: tuple[Samples, Samples, Samples],
    parallel: str,
    console: Console,
    label: str,
) -> list[dict[str, Any]]:
    """Trains one algorithm on all seeds at once, an epoch at a time, and tests the best weights.

    Returns:
      One record a seed, without the names of data set and algorithm.
    """
    training, validation, test = splits

    def epoch(progress: Any, samples: Samples) -> Any:
        return train_epoch(learner, schedule, progress, samples)

    def validate(progress: Any, samples: Samples) -> Any:
        accuracy = evaluate(learner, progress.state, samples).network
        return keep_best(progress, accuracy), accuracy

    def begin(key: Any, samples: Samples) -> Any:
        return start(learner, key, samples)

    def final(state: Any, samples: Samples) -> Any:
        return evaluate(learner, state, samples)

    keys = seed_keys(seeds)
    progress = jax.jit(spread(begin, "map"))(keys, training)
    if parallel == "auto":
        few = schedule.batch_size * min(TRIAL_STEPS, schedule.steps_per_epoch(len(training.labels)))
        short = training.replace(images=training.images[:few], labels=training.labels[:few])
        choice = fastest(epoch, progress, short)
        parallel = choice.way
        measured = ", ".join(f"{way} {s:.3g} s" for way, s in choice.seconds.items())
        if measured:
            console.print(f"{label}: seeds by {parallel} (trial: {measured})", highlight=False)
    # Compiled ahead, so that the seconds below are training alone.
    train = jax.jit(spread(epoch, parallel)).lower(progress, training).compile()
    check = jax.jit(spread(validate, parallel)).lower(progress, validation).compile()
    seconds, losses, accuracies = 0.0, [], []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=schedule.epochs)
        for number in range(1, schedule.epochs + 1):
            began = time.perf_counter()
            progress, loss = jax.block_until_ready(train(progress, training))
            seconds += time.perf_counter() - began
            progress, accuracy = check(progress, validation)
            losses.append(np.asarray(loss))
            accuracies.append(np.asarray(accuracy))
            status = (
                f"{label}: epoch {number}/{schedule.epochs}, loss {np.mean(losses[-1]):.4f}, "
                f"validation {100 * np.mean(accuracies[-1]):.2f} %"
            )
            bar.update(task, advance=1, description=status)
            if not console.is_terminal and number in (1, schedule.epochs // 2, schedule.epochs):
                print(status, flush=True)
    result = jax.jit(spread(final, parallel))(progress.best, test)
    tested, by_layer = np.asarray(result.network), np.asarray(result.layers)
    loss_history = np.stack(losses, axis=1)  # [seeds, epochs, layers]
    records = []
    for i, seed in enumerate(seeds):
        diverged = not np.isfinite(loss_history[i]).all()
        records.append(
            {
                "seed": seed,
                "status": "diverged" if diverged else "done",
                "test_accuracy": None if diverged else float(tested[i]),
                "validation_accuracy": None if diverged else float(progress.best_accuracy[i]),
                "layer_accuracies": None if diverged else by_layer[i].tolist(),
                "selected_epoch": int(progress.best_epoch[i]),
                "epochs": schedule.epochs,
                "train_seconds": seconds / len(seeds),
                "parallel": parallel,
                "history": {
                    "loss": loss_history[i].mean(axis=-1).tolist(),
                    "validation_accuracy": [float(a[i]) for a in accuracies],
                },
            }
        )
    return records


def main(options: Options) -> None:
    """Runs what is missing in the output folder and writes its report."""
    command = describe(options)
    options = resolve(options)
    assert options.hidden is not None
    assert options.epochs is not None
    assert options.batch_size is not None
    assert options.learning_rate is not None
    schedule = Schedule(options.epochs, options.batch_size)
    dataset, *splits = load_splits(options)
    num_steps = schedule.epochs * schedule.steps_per_epoch(len(splits[0].labels))
    learners = {
        algorithm: make_learner(
            PRESETS[options.preset],
            algorithm,
            hidden=options.hidden,
            num_classes=dataset.num_classes,
            learning_rate=options.learning_rate,
            num_steps=num_steps,
            negatives=options.negatives,
            winners=options.winners,
        )
        for algorithm in options.algorithms
    }
    console = Console()
    source = {"source": dataset.source, "sha256": dataset.sha256}
    with RunFolder(
        options.out,
        "compare",
        dataclasses.asdict(options),
        extra={"data": source},
        free=FREE_OPTIONS,
    ) as folder:
        for algorithm, learner in learners.items():
            names = {"dataset": options.dataset, "algorithm": algorithm}
            missing = [s for s in range(options.seeds) if not folder.is_done(**names, seed=s)]
            if not missing:
                continue
            label = report.NAMES[algorithm]
            train, validation, test = splits
            for record in train_seeds(
                learner,
                schedule,
                missing,
                (train, validation, test),
                options.parallel,
                console,
                label,
            ):
                folder.append(names | record)
        text = report.report_comparison(folder.path, folder.records, folder.config, command)
        print(f"\n{text}\n\nReport: {folder.path / 'report.html'}")


if __name__ == "__main__":
    sys.exit(execute(main, Options, "compare"))
