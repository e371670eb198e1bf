"""Times training, scoring and compiling of networks, lower bounds and PyTorch programs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.bench import lower_bound
from experiments.bench.options import Options, hidden_widths
from experiments.bench.timing import Timed, compiled, ratios, seconds_in_turn
from experiments.bench.workload import make_epoch, make_recipe, random_samples
from sffa_jax.training.evaluate import chunk_size, evaluate
from sffa_jax.training.samples import Samples

Call = Callable[[], Any]


class Variant(NamedTuple):
    """An algorithm with its winners and wrong labels. Attributes: as in the records."""

    algorithm: str
    winners: int
    negatives: str


def variants(options: Options) -> list[Variant]:
    """Returns the variants that are timed on each network."""
    baselines = [Variant("ffa", 0, "uniform"), Variant("bp", 0, "uniform")]
    sffa = [Variant("sffa", w, n) for n in options.negatives for w in (0, options.winners)]
    return baselines + sffa


def parts(options: Options) -> dict[str, Callable[[], list[dict[str, Any]]]]:
    """Returns the measurement of each network, by the network's name."""
    return {
        network: partial(measure, options, hidden_widths(network), variants(options))
        for network in options.networks
    }


def measure(
    options: Options, hidden: tuple[int, ...], compared: Sequence[Variant]
) -> list[dict[str, Any]]:
    """Times all programs of one network in turn: the variants, and once each the lower bounds and
    PyTorch's programs."""
    train, test = (random_samples(options, n) for n in (options.images, options.score_images))
    programs: list[Timed] = []
    compared_with: list[dict[str, int]] = []
    bounds: dict[tuple[Any, ...], int] = {}
    compile_records: list[dict[str, Any]] = []

    def add(case: str, variant: Variant, call: Call, **indices: int) -> int:
        names = {"case": case, "hidden": list(hidden), **variant._asdict()}
        programs.append(Timed(names, call))
        compared_with.append(indices)
        return len(programs) - 1

    for variant in compared:
        calls, compile_seconds = our_programs(options, hidden, variant, train, test)
        names = {"case": "compile", "hidden": list(hidden), **variant._asdict()}
        compile_records.append(names | {"seconds": [compile_seconds]})
        shapes, bound_calls = bound_programs(options, hidden, variant)
        # PyTorch's wrong labels are uniform.
        torch_calls = (
            torch_programs(options, variant, hidden, train, test)
            if variant.negatives == "uniform"
            else None
        )
        for case, call in calls.items():
            key = (case, shapes.candidates, shapes.scored, shapes.end_to_end)
            if key not in bounds:
                negatives = "end to end" if shapes.end_to_end else variant.negatives
                bound = Variant("lower_bound", 0, negatives)
                bounds[key] = add(case, bound, bound_calls[case]())
            indices = {"floor": bounds[key]}
            if torch_calls is not None:
                torch_variant = variant._replace(algorithm=f"torch_{variant.algorithm}")
                indices["torch"] = add(case, torch_variant, torch_calls[case])
            add(case, variant, call, **indices)
    seconds_of = seconds_in_turn(programs, options.repeats)
    records = []
    for program, seconds, indices in zip(programs, seconds_of, compared_with, strict=True):
        record = program.names | {"seconds": seconds}
        if "floor" in indices:
            record |= ratios("floor", seconds, seconds_of[indices["floor"]])
        if "torch" in indices:
            record |= ratios("torch", seconds_of[indices["torch"]], seconds)
        records.append(record)
    return records + compile_records


def our_programs(
    options: Options, hidden: tuple[int, ...], variant: Variant, train: Samples, test: Samples
) -> tuple[dict[str, Call], float]:
    """Compiles an epoch of training, and scoring where it is not that of another variant.

    Returns:
      The programs by case, and the seconds that compiling the epoch took.
    """
    recipe = make_recipe(
        options, hidden, winners=variant.winners or None, negatives=variant.negatives
    )
    epoch, first = make_epoch(recipe, variant.algorithm, train, options.classes)
    learner = recipe.learner(
        variant.algorithm, (options.features, 1), options.classes, options.images
    )
    call, seconds = compiled(epoch, first, train)
    calls = {"train_epoch": call}
    # Scoring does not depend on how training chooses wrong labels.
    if variant.negatives == "uniform":
        calls["score"], _ = compiled(partial(evaluate, learner), first.state, test)
    return calls, seconds


def bound_programs(
    options: Options, hidden: tuple[int, ...], variant: Variant
) -> tuple[lower_bound.Shapes, dict[str, Callable[[], Call]]]:
    """Returns the shapes of the variant's lower bounds, and by case what compiles their program."""
    shapes = lower_bound.Shapes(
        options.features,
        make_recipe(options, hidden).overlay_size,
        hidden,
        options.classes,
        candidates=options.classes if variant.negatives == "all" else 2,
        scored=options.classes if variant.negatives == "hard" else 0,
        end_to_end=variant.algorithm == "bp",
    )
    num_steps = options.images // options.batch_size

    def training() -> Call:
        return compiled(*lower_bound.training(shapes, options.batch_size, num_steps))[0]

    def scoring() -> Call:
        chunk = chunk_size(options.score_images, options.classes)
        return compiled(*lower_bound.scoring(shapes, options.score_images, chunk))[0]

    return shapes, {"train_epoch": training, "score": scoring}


def torch_programs(
    options: Options, variant: Variant, hidden: Sequence[int], train: Samples, test: Samples
) -> dict[str, Call] | None:
    """Returns PyTorch's epoch and scoring of the same images; None if it is not installed."""
    try:
        from experiments.bench import torch_baseline
    except ImportError:
        return None

    def programs(samples: Samples) -> tuple[Call, Call]:
        return torch_baseline.programs(
            variant.algorithm,
            np.asarray(samples.images),
            np.asarray(samples.labels),
            hidden,
            classes=options.classes,
            winners=variant.winners,
            batch_size=options.batch_size,
            chunk=chunk_size(len(samples.labels), options.classes),
            backend=jax.default_backend(),
        )

    return {"train_epoch": programs(train)[0], "score": programs(test)[1]}
