"""The benchmark's cases, each a dict of independent measurements."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax

from experiments.bench import convolution, kernels, networks
from experiments.bench.options import Options
from experiments.bench.timing import Timed, compiled, timed_records
from experiments.bench.workload import make_epoch, make_recipe, random_samples
from experiments.config.choices import ALGORITHMS, PRECISIONS
from sffa_jax.scale.pipeline import pipelined_epoch
from sffa_jax.scale.placement import Placement, available
from sffa_jax.scale.sweep import fastest, seed_keys
from sffa_jax.training.fit import Schedule, start

Records = list[dict[str, Any]]
Parts = dict[str, Callable[[], Records]]
"""Measurements by name."""

DEPTHS = (1, 2, 4, 8)
PIPELINE_DEVICES = (2, 4)
SWEEP_STEPS = 8
"""Updates of each run in a sweep."""


def measure_precision(options: Options) -> Records:
    """Times an epoch with matrix products in float32 and in bfloat16."""
    samples = random_samples(options, options.images)
    programs = []
    for precision in PRECISIONS:
        recipe = make_recipe(options, (1400,), precision=precision)
        call, _ = compiled(*make_epoch(recipe, "sffa", samples, options.classes), samples)
        names = {"case": "precision", "algorithm": "sffa", "hidden": [1400]}
        programs.append(Timed(names | {"precision": precision}, call))
    return timed_records(programs, options.repeats)


def measure_linear(options: Options) -> Records:
    """Times SFFA's epoch for growing numbers of samples, classes (all compared) and layers."""
    points = [("samples", steps, 10, 1, "uniform") for steps in (2, 4, 8, 16)]
    points += [("classes", 4, classes, 1, "all") for classes in (10, 20, 40, 80)]
    points += [("depth", 4, 10, depth, "uniform") for depth in DEPTHS]
    programs = []
    for axis, steps, classes, depth, negatives in points:
        images = steps * options.batch_size
        samples = random_samples(options, images, classes)
        hidden = (options.memory_width,) * depth
        recipe = make_recipe(options, hidden, negatives=negatives)
        call, _ = compiled(*make_epoch(recipe, "sffa", samples, classes), samples)
        value = {"samples": images, "classes": classes, "depth": depth}[axis]
        names = {"case": "linear", "algorithm": "sffa", "axis": axis, "value": value}
        sizes = {"hidden": list(hidden), "negatives": negatives}
        programs.append(Timed(names | sizes, call))
    return timed_records(programs, options.repeats)


def sweep_parts(options: Options) -> Parts:
    """Returns a measurement for each width and number of seeds."""
    return {
        f"{width}, {seeds} seeds": partial(measure_sweep, options, width, seeds)
        for width in options.sweep_widths
        for seeds in options.sweep_seeds
    }


def measure_sweep(options: Options, width: int, seeds: int) -> Records:
    """Times several seeds together in each placement, and one by one; also records the choice of
    `auto`."""
    samples = random_samples(options, options.batch_size * SWEEP_STEPS)
    recipe = make_recipe(options, (width,))
    epoch, _ = make_epoch(recipe, "sffa", samples, options.classes)
    learner = recipe.learner("sffa", (options.features, 1), options.classes, options.images)
    start_all = jax.jit(Placement("map").lift(lambda key, data: start(learner, key, data)))
    runs = start_all(seed_keys(range(seeds)), samples)
    names = {"case": "sweep", "algorithm": "sffa", "hidden": [width], "seeds": seeds}
    programs = []
    for placement in available():
        placed = placement.place_runs(runs), placement.place_shared(samples, seeds)
        call, _ = compiled(placement.lift(epoch), *placed)
        programs.append(Timed(names | {"parallel": placement.mode}, call))
    single_run, _ = compiled(epoch, jax.tree.map(lambda leaf: leaf[0], runs), samples)

    def one_by_one() -> None:
        for _ in range(seeds):
            single_run()

    programs.append(Timed(names | {"parallel": "single"}, one_by_one))
    chosen = fastest(epoch, runs, samples).placement.mode
    return [record | {"auto": chosen} for record in timed_records(programs, options.repeats)]


def pipeline_parts(options: Options) -> Parts:
    """Returns a measurement for each number of devices that divides this machine's."""
    return {
        f"{devices} devices": partial(measure_pipeline, options, devices)
        for devices in PIPELINE_DEVICES
        if jax.device_count() % devices == 0
    }


def measure_pipeline(options: Options, devices: int) -> Records:
    """Times a network with as many layers as devices: its layers in a pipeline, its batches split
    over the devices, and all of it on one device (on a CPU, this one uses all cores)."""
    samples = random_samples(options, options.images)
    recipe = make_recipe(options, (options.memory_width,) * devices)
    epoch, first = make_epoch(recipe, "sffa", samples, options.classes)
    network = recipe.network("sffa", (options.features, 1), options.classes)
    optimizer = recipe.optimizer(recipe.steps("sffa", options.images))
    pipelined = pipelined_epoch(network, optimizer, Schedule(1, options.batch_size))

    def layers_epoch(progress: Any, data: Any) -> Any:
        progress, loss = pipelined(progress, data)
        return progress.state, loss

    split = Placement("devices", devices)
    runs = split.place_runs(jax.tree.map(lambda leaf: leaf[None], first))
    calls = {
        "one device": compiled(epoch, first, samples)[0],
        "layers": compiled(layers_epoch, first, samples)[0],
        "data": compiled(split.lift(epoch), runs, split.place_shared(samples, 1))[0],
    }
    names = {"case": "pipeline", "algorithm": "sffa", "hidden": list(recipe.hidden)}
    programs = [
        Timed(names | {"parallel": mode, "devices": devices}, call) for mode, call in calls.items()
    ]
    return timed_records(programs, options.repeats)


def memory_parts(options: Options) -> Parts:
    """Returns a measurement for each algorithm and depth."""
    return {
        f"{algorithm}, {depth} layers": partial(measure_memory, options, algorithm, depth)
        for algorithm in (*ALGORITHMS, "bp_remat", "bp_accumulate")
        for depth in DEPTHS
    }


def measure_memory(options: Options, algorithm: str, depth: int) -> Records:
    """Measures the memory of an update in a separate process."""
    case = {
        "algorithm": algorithm,
        "hidden": [options.memory_width] * depth,
        "features": options.features,
        "classes": options.classes,
        "batch_size": options.batch_size,
    }
    child = subprocess.run(
        [sys.executable, "-m", "experiments.bench.memory", json.dumps(case)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        raise RuntimeError(f"the measurement of memory failed:\n{child.stderr}")
    measured = json.loads(child.stdout.splitlines()[-1])
    names = {name: case[name] for name in ("algorithm", "hidden", "batch_size")}
    return [{"case": "memory", **names, **measured}]


CASES: dict[str, Callable[[Options], Parts]] = {
    "networks": networks.parts,
    "winners": lambda options: {"": partial(kernels.measure_winners, options.repeats)},
    "sparse": lambda options: {"": partial(kernels.measure_sparse, options.repeats)},
    "labels": lambda options: {"": partial(kernels.measure_labels, options.repeats)},
    "convolution": lambda options: convolution.parts(options.repeats),
    "precision": lambda options: {"": partial(measure_precision, options)},
    "linear": lambda options: {"": partial(measure_linear, options)},
    "sweep": sweep_parts,
    "memory": memory_parts,
    "pipeline": pipeline_parts,
    "photographs": lambda options: convolution.parts_photographs(options.repeats),
}
"""By the case's name, in `options.CASE_NAMES`: its measurements."""
