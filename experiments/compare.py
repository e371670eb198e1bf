"""FFA, SFFA and backprop on the same images, batches and widths, over seeds.

    python -m experiments.compare --dataset mnist --data-dir DIR --hidden 1400 --epochs 10 --seeds 3

reaches a mean test accuracy of at least 97.5 % (SFFA), 94 % (FFA) and 98 % (backprop) within a
few minutes on two cores; `results/compare` holds every seed of a longer one.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from experiments import options as shared
from experiments.command import execute
from sffa_jax import report
from sffa_jax.learner import Learner
from sffa_jax.sweep import fastest, seed_keys, spread
from sffa_jax.train import Samples, Schedule, evaluate, keep_best, start, train_epoch

TRIAL_STEPS = 8
"""Updates in the trial that decides how seeds are spread."""


@dataclass(frozen=True)
class Options(shared.Options):
    """Train FFA, SFFA and backprop on every seed and compare their test accuracies."""


def train_seeds(
    learner: Learner,
    schedule: Schedule,
    seeds: Sequence[int],
    splits: shared.Splits,
    parallel: str,
    console: Console,
    label: str,
) -> list[dict[str, Any]]:
    """Trains one algorithm on all seeds at once, an epoch at a time, and tests the best weights.

    Returns:
      One record a seed, without the names of data set and algorithm.
    """
    training = splits.training

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
    check = jax.jit(spread(validate, parallel)).lower(progress, splits.validation).compile()
    seconds, losses, accuracies = 0.0, [], []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=schedule.epochs)
        for number in range(1, schedule.epochs + 1):
            began = time.perf_counter()
            progress, loss = jax.block_until_ready(train(progress, training))
            seconds += time.perf_counter() - began
            progress, accuracy = check(progress, splits.validation)
            losses.append(np.asarray(loss))
            accuracies.append(np.asarray(accuracy))
            status = (
                f"{label}: epoch {number}/{schedule.epochs}, loss {np.mean(losses[-1]):.4f}, "
                f"validation {100 * np.mean(accuracies[-1]):.2f} %"
            )
            bar.update(task, advance=1, description=status)
            if not console.is_terminal and number in (1, schedule.epochs // 2, schedule.epochs):
                print(status, flush=True)
    result = jax.jit(spread(final, parallel))(progress.best, splits.test)
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
    command = options.command("compare")
    options = options.resolve()
    schedule = options.schedule()
    splits = shared.load_splits(options)
    learners = {
        algorithm: options.learner(
            algorithm, splits.dataset.num_classes, len(splits.training.labels)
        )
        for algorithm in options.algorithms
    }
    console = Console()
    with shared.open_folder(options, "compare", splits) as folder:
        for algorithm, learner in learners.items():
            names = {"dataset": options.dataset, "algorithm": algorithm}
            missing = [s for s in range(options.seeds) if not folder.is_done(**names, seed=s)]
            if not missing:
                continue
            records = train_seeds(
                learner,
                schedule,
                missing,
                splits,
                options.parallel,
                console,
                report.NAMES[algorithm],
            )
            for record in records:
                folder.append(names | record)
        text = report.report_comparison(folder.path, folder.records, folder.config, command)
        print(f"\n{text}\n\nReport: {folder.path / 'report.html'}")


if __name__ == "__main__":
    sys.exit(execute(main, Options, "compare"))
