"""Training many runs of one algorithm together: seeds, and settings that differ in numbers."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from experiments.options import Splits
from experiments.presets import CONTINUOUS, Recipe
from experiments.run_folder import RunFolder
from sffa_jax.sweep import fastest, fit_memory, place, seed_keys, spread
from sffa_jax.train import Progress, Samples, evaluate, keep_best, start, train_epoch

TRIAL_STEPS = 8
"""Updates in the trial that decides how runs are spread."""


def train_runs(
    recipe: Recipe,
    algorithm: str,
    seeds: Sequence[int],
    splits: Splits,
    parallel: str,
    console: Console,
    label: str,
    varied: Mapping[str, Sequence[float]] | None = None,
) -> list[dict[str, Any]]:
    """Trains all runs at once, an epoch at a time, and tests the best weights of each.

    Args:
      recipe: what the runs have in common.
      algorithm: "ffa", "sffa" or "bp".
      seeds: one a run.
      splits: the data.
      parallel: "vmap", "map", "devices" or "auto" (the fastest of them, measured on a few updates).
      console: where progress is shown; a bar on a terminal, plain lines elsewhere.
      label: names the runs there.
      varied: numbers of the recipe that differ, one value a run; they are traced, so that one
        program serves them all.

    Returns:
      One record a run, without the names of data set, algorithm and setting. Runs that do not fit
      the memory together are trained in two halves, and those in halves again if need be.
    """
    schedule, training = splits.schedule(recipe), splits.training
    values = {name: jnp.asarray(v, jnp.float32) for name, v in (varied or {}).items()}

    def learner_of(one: Mapping[str, Any]) -> Any:
        return splits.learner(dataclasses.replace(recipe, **one), algorithm)

    def begin(one: Any, samples: Samples) -> Progress:
        key, numbers = one
        return start(learner_of(numbers), key, samples)

    # Both take and give back all that a run is, so that the new may be written over the old.
    def epoch(one: Any, samples: Samples) -> Any:
        progress, numbers = one
        progress, loss = train_epoch(learner_of(numbers), schedule, progress, samples)
        return (progress, numbers), loss

    def validate(one: Any, samples: Samples) -> Any:
        progress, numbers = one
        accuracy = evaluate(learner_of(numbers), progress.state, samples).network
        return (keep_best(progress, accuracy), numbers), accuracy

    def final(one: Any, samples: Samples) -> Any:
        progress, numbers = one
        chosen = progress.state if splits.validation is None else progress.best
        return evaluate(learner_of(numbers), chosen, samples)

    def started(some: Any) -> Any:
        return jax.jit(spread(begin, "map"))(some, training), some[1]

    keys = (seed_keys(seeds), values)
    if parallel == "auto":
        few = schedule.batch_size * min(TRIAL_STEPS, schedule.steps_per_epoch(len(training.labels)))
        short = training.replace(images=training.images[:few], labels=training.labels[:few])
        choice = fastest(epoch, started(keys), short)
        parallel = choice.way
        measured = ", ".join(f"{way} {s:.3g} s" for way, s in choice.seconds.items())
        if measured:
            console.print(f"{label}: runs by {parallel} (trial: {measured})", highlight=False)
    # Compiled ahead, so that the seconds below are training alone.
    runs = jax.eval_shape(started, keys)
    train, size = fit_memory(epoch, parallel, runs, training, donate=True)
    if size < len(seeds):
        halves = [slice(0, size), slice(size, None)]
        return [
            record
            for half in halves
            for record in train_runs(
                recipe,
                algorithm,
                seeds[half],
                splits,
                parallel,
                console,
                label,
                {name: numbers[half] for name, numbers in (varied or {}).items()},
            )
        ]
    runs = place(started(keys), parallel)
    check = None
    if splits.validation is not None:
        validating = jax.jit(spread(validate, parallel), donate_argnums=0)
        check = validating.lower(runs, splits.validation).compile()
    seconds, losses, accuracies = 0.0, [], []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=schedule.epochs)
        for number in range(1, schedule.epochs + 1):
            began = time.perf_counter()
            runs, loss = jax.block_until_ready(train(runs, training))
            seconds += time.perf_counter() - began
            losses.append(np.asarray(loss)[: len(seeds)])
            status = f"{label}: epoch {number}/{schedule.epochs}, loss {np.mean(losses[-1]):.4f}"
            if check is not None:
                runs, accuracy = check(runs, splits.validation)
                accuracies.append(np.asarray(accuracy)[: len(seeds)])
                status += f", validation {100 * np.mean(accuracies[-1]):.2f} %"
            bar.update(task, advance=1, description=status)
            if not console.is_terminal and number in (1, schedule.epochs // 2, schedule.epochs):
                print(status, flush=True)
    result = jax.jit(spread(final, parallel))(runs, splits.test)
    progress = runs[0]
    tested, by_layer = np.asarray(result.network), np.asarray(result.layers)
    cumulated = np.asarray(result.cumulated)
    loss_history = np.stack(losses, axis=1)  # [runs, epochs, layers]
    records = []
    for i, seed in enumerate(seeds):
        diverged = not np.isfinite(loss_history[i]).all()
        records.append(
            {
                "seed": seed,
                "status": "diverged" if diverged else "done",
                "test_accuracy": None if diverged else float(tested[i]),
                "validation_accuracy": (
                    None if diverged or check is None else float(progress.best_accuracy[i])
                ),
                "layer_accuracies": None if diverged else by_layer[i].tolist(),
                "cumulated_accuracies": None if diverged else cumulated[i].tolist(),
                "selected_epoch": (
                    schedule.epochs if check is None else int(progress.best_epoch[i])
                ),
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


@dataclass(frozen=True)
class Setting:
    """One point of a grid.

    Attributes:
      name: as records and reports call it.
      recipe: all choices.
      changes: those that the grid varies, for the record.
    """

    name: str
    recipe: Recipe
    changes: Mapping[str, Any]


def train_settings(
    settings: Sequence[Setting],
    algorithm: str,
    seeds: int,
    splits_of: Callable[[Recipe], Splits],
    folder: RunFolder,
    parallel: str,
    at_once: int,
    names: Mapping[str, Any],
) -> None:
    """Trains every setting on every seed that the folder lacks and records each run.

    Settings that differ in `CONTINUOUS` numbers alone are compiled once and run together.

    Args:
      settings: the grid.
      algorithm: "ffa", "sffa" or "bp".
      seeds: number of seeds.
      splits_of: the data as a recipe asks for it.
      folder: receives a record a run, with `setting` and `changes`.
      parallel: as in `train_runs`.
      at_once: runs in one program, at most.
      names: further entries of each record.
    """
    console = Console()
    groups: dict[Recipe, list[Setting]] = {}
    usual = {name: getattr(Recipe(), name) for name in CONTINUOUS}
    for setting in settings:
        groups.setdefault(dataclasses.replace(setting.recipe, **usual), []).append(setting)
    for group in groups.values():
        runs = [
            (setting, seed)
            for setting in group
            for seed in range(seeds)
            if not folder.is_done(algorithm=algorithm, setting=setting.name, seed=seed)
        ]
        for chunk in (runs[i : i + at_once] for i in range(0, len(runs), at_once)):
            recipe = group[0].recipe
            varied = {
                name: [getattr(setting.recipe, name) for setting, _ in chunk]
                for name in CONTINUOUS
                if len({getattr(setting.recipe, name) for setting in group}) > 1
            }
            first, more = chunk[0][0].name, len({setting.name for setting, _ in chunk}) - 1
            label = f"{algorithm}, {first}" + (f" and {more} more" if more else "")
            records = train_runs(
                recipe,
                algorithm,
                [seed for _, seed in chunk],
                splits_of(recipe),
                parallel,
                console,
                label,
                varied,
            )
            for (setting, _), record in zip(chunk, records, strict=True):
                # A grid's many curves would make its results large, and nobody draws them.
                del record["history"]
                own = {"algorithm": algorithm, "setting": setting.name}
                folder.append({**names, **own, "changes": dict(setting.changes), **record})
