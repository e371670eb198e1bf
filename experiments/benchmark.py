"""What training and scoring cost, beside the least they can cost and beside plain PyTorch.

    python -m experiments.benchmark

times FFA, SFFA and backprop in one process, all programs of a network in turn and that several
times over, so that whatever else the machine does falls on all of them alike. Speed is told as a
ratio to the *floor* (`lower_bound.py`: the matrix products and the optimizer's update alone, same
shapes, same library) and to PyTorch written the obvious way (`torch_baseline.py`). Pixels are
random, since times do not depend on them. About 20 minutes on two cores.
"""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from experiments.bench import convolution, kernels, lower_bound
from experiments.bench.timing import Timed, compiled, in_turn, ratios, records_of
from experiments.config.options import check_names, flags
from experiments.config.presets import DEFAULT
from experiments.config.recipe import ALGORITHMS, PRECISIONS, Recipe
from experiments.harness.experiment import execute
from experiments.harness.run_folder import RunFolder
from experiments.reports.sections import write_report
from sffa_jax.checks import check_choice, check_integer, reject
from sffa_jax.core.negatives import NEGATIVES
from sffa_jax.scale.pipeline import pipelined_epoch
from sffa_jax.scale.placement import Placement, available
from sffa_jax.scale.sweep import fastest, seed_keys
from sffa_jax.training.evaluate import EVALUATION_CHUNK, evaluate
from sffa_jax.training.fit import Schedule, start, train_epoch
from sffa_jax.training.samples import Samples

CASES = (
    *("networks", "winners", "sparse", "convolution", "precision", "linear", "sweep", "memory"),
    *("pipeline",),
)
DEPTHS = (1, 2, 4, 8)

Parts = dict[str, Callable[[], list[dict[str, Any]]]]
"""What a case consists of: each part is measured, and recorded, by itself."""

PIPELINES = (2, 4)
"""Devices, each with a layer of its own."""

TRIAL_STEPS = 8
"""Updates of a sweep's runs."""


@dataclass(frozen=True)
class Options:
    """Time training, scoring and sweeps, and measure their memory."""

    cases: tuple[str, ...] = CASES
    """What to measure: networks (an epoch, scoring, compiling), winners, sparse, convolution,
    precision, linear, sweep, memory, pipeline (needs several devices; XLA_FLAGS makes host
    devices)."""
    networks: tuple[str, ...] = ("1x1400", "2x1400", "4x2000")
    """Networks, as depth x width."""
    winners: int = 15
    """Winners of each half, in the cases that have them."""
    negatives: tuple[str, ...] = ("uniform", "hard", "all")
    """SFFA's choices of wrong labels: uniform, hard, all."""
    batch_size: int = 512
    """Images per update."""
    images: int = 2_560
    """Training images of the epoch that is timed."""
    score_images: int = 10_000
    """Images that are scored against all labels."""
    features: int = 784
    """Pixels of an image."""
    classes: int = 10
    """Labels."""
    memory_width: int = 1000
    """Width of the layers in the cases linear (depth) and memory."""
    sweep_widths: tuple[int, ...] = (200, 1400)
    """Widths of the sweeps' networks."""
    sweep_seeds: tuple[int, ...] = (4, 10)
    """Runs of each sweep."""
    repeats: int = 5
    """Rounds at least, more where they are short; a figure is the median over them."""
    device: str | None = None
    """cpu, gpu or tpu; JAX's own choice if left out."""
    out: Path | None = None
    """Folder for the results; a second start with the same folder continues it."""
    compilation_cache: Path | None = None
    """Folder in which compiled programs are kept; times of compiling mean nothing then."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """The options before the command line is read."""
        del arguments
        return cls()

    def command(self) -> str:
        """The command that repeats the run."""
        usual = dataclasses.asdict(type(self)())
        said = {n: v for n, v in dataclasses.asdict(self).items() if n != "out"}
        return " ".join(["python -m experiments.benchmark", *flags(said, usual)])

    def check(self) -> None:
        """Raises ValueError naming the first option that cannot be used."""
        check_names("cases", self.cases, CASES)
        check_names("negatives", self.negatives, list(NEGATIVES))
        for network in self.networks:
            parse_network(network)
        for name in ("winners", "images", "score_images", "features", "memory_width", "repeats"):
            check_integer("options", name, getattr(self, name), 1)
        check_integer("options", "batch_size", self.batch_size, 1)
        check_integer("options", "classes", self.classes, 2)
        for name in ("sweep_widths", "sweep_seeds"):
            for value in getattr(self, name):
                check_integer("options", name, value, 1)
        Schedule(1, self.batch_size).steps_per_epoch(self.images)
        if self.device is not None:
            check_choice("options", "device", self.device, ("cpu", "gpu", "tpu"))


def parse_network(text: str) -> tuple[int, ...]:
    """Hidden widths of a network named as DEPTHxWIDTH.

    Raises:
      ValueError: for another form, no layer or an odd width.
    """
    depth, _, width = text.partition("x")
    if not (depth.isdecimal() and width.isdecimal() and int(depth) and int(width) > 1):
        raise reject("options", "networks", "be written as DEPTHxWIDTH", repr(text), "Try 2x1400.")
    if int(width) % 2:
        raise reject("options", "networks", "have an even width", repr(text))
    return (int(width),) * int(depth)


def random_samples(options: Options, number: int, classes: int | None = None) -> Samples:
    """Images of random pixels and their labels."""
    random = np.random.default_rng(0)
    return Samples(
        images=jnp.asarray(random.integers(0, 256, (number, options.features)), jnp.uint8),
        labels=jnp.asarray(random.integers(0, classes or options.classes, number), jnp.int32),
        mean=jnp.array([0.13]),
        std=jnp.array([0.31]),
        num_classes=classes or options.classes,
    )


def recipe_of(options: Options, hidden: Sequence[int], **changes: Any) -> Recipe:
    """The default recipe on this network."""
    return dataclasses.replace(
        DEFAULT, hidden=tuple(hidden), batch_size=options.batch_size, **changes
    )


def epoch_of(recipe: Recipe, algorithm: str, samples: Samples, classes: int) -> tuple[Any, Any]:
    """An epoch as a function of its start, and that start.

    What it gives back is the new state alone: real training writes the rest over (donates it).
    """
    shape = (samples.images.shape[1], 1)
    learner = recipe.learner(algorithm, shape, classes, len(samples.labels))
    schedule = recipe.schedule(shape)
    first = start(learner, jax.random.key(0), samples)

    def epoch(progress: Any, data: Samples) -> Any:
        progress, loss = train_epoch(learner, schedule, progress, data)
        return progress.state, loss

    return epoch, first


class Kind(NamedTuple):
    """What a network is trained by. Attributes: as in the records."""

    algorithm: str
    winners: int
    negatives: str


def networks(options: Options) -> Parts:
    """An epoch, scoring and compiling, of every algorithm."""
    kinds = [Kind("ffa", 0, "uniform"), Kind("bp", 0, "uniform")]
    kinds += [Kind("sffa", w, n) for n in options.negatives for w in (0, options.winners)]
    return {
        network: partial(measure_network, options, parse_network(network), kinds)
        for network in options.networks
    }


def measure_network(
    options: Options,
    hidden: tuple[int, ...],
    kinds: Sequence[Kind],
) -> list[dict[str, Any]]:
    """All programs of one network in turn: ours, and once each the floors and PyTorch."""
    training, test = (random_samples(options, n) for n in (options.images, options.score_images))
    num_steps = options.images // options.batch_size
    programs: list[Timed] = []
    floors: dict[tuple[Any, ...], int] = {}
    compiling: list[dict[str, Any]] = []

    def add(case: str, kind: Kind, call: Callable[[], Any], **extra: Any) -> int:
        names = {"case": case, "hidden": list(hidden), **kind._asdict()}
        programs.append(Timed(names, call, extra))
        return len(programs) - 1

    for kind in kinds:
        changes = {"winners": kind.winners or None, "negatives": kind.negatives}
        recipe = recipe_of(options, hidden, **changes)
        shapes = lower_bound.Shapes(
            options.features,
            recipe.overlay_size,
            hidden,
            options.classes,
            candidates=options.classes if kind.negatives == "all" else 2,
            scored=options.classes if kind.negatives == "hard" else 0,
            end_to_end=kind.algorithm == "bp",
        )
        epoch, first = epoch_of(recipe, kind.algorithm, training, options.classes)
        learner = recipe.learner(
            kind.algorithm, (options.features, 1), options.classes, options.images
        )

        def score(state: Any, data: Samples, learner: Any = learner) -> Any:
            return evaluate(learner, state, data)

        call, seconds = compiled(epoch, first, training)
        names = {"case": "compile", "hidden": list(hidden), **kind._asdict()}
        compiling.append(names | {"seconds": [seconds]})
        ours = {"train_epoch": call}
        least = {
            "train_epoch": lambda s=shapes: lower_bound.training(s, options.batch_size, num_steps)
        }
        beside = None
        # Scoring does not know how the wrong labels of training were chosen; PyTorch's are uniform.
        if kind.negatives == "uniform":
            ours["score"], _ = compiled(score, first.state, test)
            least["score"] = lambda s=shapes: lower_bound.scoring(
                s, options.score_images, EVALUATION_CHUNK
            )
            beside = plain(options, kind, hidden, training, test)
        for case, call in ours.items():
            key = (case, shapes.candidates, shapes.scored, shapes.end_to_end)
            if key not in floors:
                negatives = "end to end" if shapes.end_to_end else kind.negatives
                floors[key] = add(case, Kind("floor", 0, negatives), compiled(*least[case]())[0])
            extra = {"floor": floors[key]}
            if beside is not None:
                torch_kind = kind._replace(algorithm=f"torch_{kind.algorithm}")
                extra["torch"] = add(case, torch_kind, beside[case])
            add(case, kind, call, **extra)
    seconds_of = in_turn(programs, options.repeats)
    records = []
    for program, own in zip(programs, seconds_of, strict=True):
        record = program.names | {"seconds": own}
        if "floor" in program.extra:
            record |= ratios("floor", own, seconds_of[program.extra["floor"]])
        if "torch" in program.extra:
            record |= ratios("torch", seconds_of[program.extra["torch"]], own)
        records.append(record)
    return records + compiling


def plain(
    options: Options,
    kind: Kind,
    hidden: Sequence[int],
    training: Samples,
    test: Samples,
) -> dict[str, Callable[[], None]] | None:
    """PyTorch's epoch and scoring of the same images; None where it is not installed."""
    try:
        from experiments.bench import torch_baseline
    except ImportError:
        return None
    shared: dict[str, Any] = {
        "classes": options.classes,
        "winners": kind.winners,
        "batch_size": options.batch_size,
        "chunk": EVALUATION_CHUNK,
        "backend": jax.default_backend(),
    }

    def on(samples: Samples) -> tuple[Callable[[], None], Callable[[], None]]:
        images, labels = np.asarray(samples.images), np.asarray(samples.labels)
        return torch_baseline.programs(kind.algorithm, images, labels, hidden, **shared)

    return {"train_epoch": on(training)[0], "score": on(test)[1]}


def measure_precision(options: Options) -> list[dict[str, Any]]:
    """An epoch with products in float32 and in bfloat16."""
    samples = random_samples(options, options.images)
    programs = []
    for precision in PRECISIONS:
        recipe = recipe_of(options, (1400,), precision=precision)
        call, _ = compiled(*epoch_of(recipe, "sffa", samples, options.classes), samples)
        names = {"case": "precision", "algorithm": "sffa", "hidden": [1400]}
        programs.append(Timed(names | {"precision": precision}, call, {}))
    return records_of(programs, options.repeats)


def measure_linear(options: Options) -> list[dict[str, Any]]:
    """SFFA's epoch as samples, classes (all of them compared) and depth grow."""
    points = [("samples", steps, 10, 1, "uniform") for steps in (2, 4, 8, 16)]
    points += [("classes", 4, number, 1, "all") for number in (10, 20, 40, 80)]
    points += [("depth", 4, 10, depth, "uniform") for depth in DEPTHS]
    programs = []
    for axis, steps, classes, depth, negatives in points:
        images = steps * options.batch_size
        samples = random_samples(options, images, classes)
        hidden = (options.memory_width,) * depth
        recipe = recipe_of(options, hidden, negatives=negatives)
        call, _ = compiled(*epoch_of(recipe, "sffa", samples, classes), samples)
        value = {"samples": images, "classes": classes, "depth": depth}[axis]
        names = {"case": "linear", "algorithm": "sffa", "axis": axis, "value": value}
        programs.append(Timed(names, call, {"hidden": list(hidden), "negatives": negatives}))
    return records_of(programs, options.repeats)


def sweeps(options: Options) -> Parts:
    """Seeds together, by width and number."""
    return {
        f"{width}, {number} seeds": partial(measure_sweep, options, width, number)
        for width in options.sweep_widths
        for number in options.sweep_seeds
    }


def measure_sweep(options: Options, width: int, number: int) -> list[dict[str, Any]]:
    """Several seeds together in every way, one by one, and as `auto` chooses."""
    samples = random_samples(options, options.batch_size * TRIAL_STEPS)
    recipe = recipe_of(options, (width,))
    epoch, _ = epoch_of(recipe, "sffa", samples, options.classes)
    learner = recipe.learner("sffa", (options.features, 1), options.classes, options.images)
    begin = jax.jit(Placement("map").lift(lambda key, data: start(learner, key, data)))
    runs = begin(seed_keys(range(number)), samples)
    names = {"case": "sweep", "algorithm": "sffa", "hidden": [width], "seeds": number}
    programs = []
    for placement in available():
        call, _ = compiled(placement.lift(epoch), placement.place_runs(runs), samples)
        programs.append(Timed(names | {"parallel": placement.mode}, call, {}))
    single, _ = compiled(epoch, jax.tree.map(lambda leaf: leaf[0], runs), samples)

    def singles() -> None:
        for _ in range(number):
            single()

    programs.append(Timed(names | {"parallel": "single"}, singles, {}))
    chosen = fastest(epoch, runs, samples).placement.mode
    return [record | {"auto": chosen} for record in records_of(programs, options.repeats)]


def pipelines(options: Options) -> Parts:
    """One network over several devices, by how many there are."""
    return {
        f"{devices} devices": partial(measure_pipeline, options, devices)
        for devices in PIPELINES
        if jax.device_count() % devices == 0
    }


def measure_pipeline(options: Options, devices: int) -> list[dict[str, Any]]:
    """A network with a layer a device: its layers in a pipeline, its batches shared out, and all of
    it on one device, which on a CPU has all cores to itself."""
    samples = random_samples(options, options.images)
    recipe = recipe_of(options, (options.memory_width,) * devices)
    epoch, first = epoch_of(recipe, "sffa", samples, options.classes)
    network = recipe.network("sffa", (options.features, 1), options.classes)
    optimizer = recipe.optimizer(recipe.steps("sffa", options.images))
    streamed = pipelined_epoch(network, optimizer, Schedule(1, options.batch_size))
    run = jax.tree.map(lambda leaf: leaf[None], first)
    split = Placement("devices", devices)
    programs = {
        "one device": compiled(epoch, first, samples)[0],
        "layers": compiled(lambda *a: (streamed(*a)[0].state, streamed(*a)[1]), first, samples)[0],
        "data": compiled(split.lift(epoch), split.place_runs(run), split.place_shared(samples, 1))[
            0
        ],
    }
    names = {"case": "pipeline", "algorithm": "sffa", "hidden": list(recipe.hidden)}
    return records_of(
        [
            Timed(names | {"parallel": way, "devices": devices}, call, {})
            for way, call in programs.items()
        ],
        options.repeats,
    )


def memories(options: Options) -> Parts:
    """Memory of an update, by algorithm and depth."""
    return {
        f"{algorithm}, {depth} layers": partial(measure_memory, options, algorithm, depth)
        for algorithm in (*ALGORITHMS, "bp_remat", "bp_accumulate")
        for depth in DEPTHS
    }


def measure_memory(options: Options, algorithm: str, depth: int) -> list[dict[str, Any]]:
    """Memory of an update, in a process of its own."""
    case = {
        "algorithm": algorithm,
        "hidden": [options.memory_width] * depth,
        "features": options.features,
        "classes": options.classes,
        "batch_size": options.batch_size,
    }
    child = subprocess.run(
        [sys.executable, "-m", "experiments.bench.memory", json.dumps(case)],
        cwd=Path(__file__).parent.parent,
        env=os.environ | ({"JAX_PLATFORMS": options.device} if options.device else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        raise RuntimeError(f"the measurement of memory failed:\n{child.stderr}")
    found = json.loads(child.stdout.splitlines()[-1])
    named = {name: case[name] for name in ("algorithm", "hidden", "batch_size")}
    return [{"case": "memory", **named, **found}]


PARTS: dict[str, Callable[[Options], Parts]] = {
    "networks": networks,
    "winners": lambda o: {"": partial(kernels.measure_winners, o.repeats)},
    "sparse": lambda o: {"": partial(kernels.measure_sparse, o.repeats)},
    "convolution": lambda o: convolution.parts(o.repeats),
    "precision": lambda o: {"": partial(measure_precision, o)},
    "linear": lambda o: {"": partial(measure_linear, o)},
    "sweep": sweeps,
    "memory": memories,
    "pipeline": pipelines,
}

EMPTY: dict[str, Any] = dict.fromkeys(
    (
        *("algorithm", "hidden", "winners", "negatives", "parallel", "seconds"),
        *("floor_ratio", "torch_ratio", "peak_mib"),
    )
)
"""Fields that every record has."""


def main(options: Options) -> None:
    """Measures the cases that the output folder lacks and writes its report."""
    options.check()
    if options.device is not None:
        jax.config.update("jax_platforms", options.device)
        try:
            jax.devices(options.device)
        except RuntimeError:
            raise reject("options", "device", "be on this machine", options.device) from None
    console = Console()
    given = dataclasses.asdict(options)
    free = ("out", "cases", "compilation_cache")
    with RunFolder(options.out, "benchmark", given, free=free) as folder:
        parts = {
            f"{case} {part}".strip(): measure
            for case in options.cases
            for part, measure in PARTS[case](options).items()
        }
        for group, measure in parts.items():
            # A group is measured side by side, so that it is done whole or not at all.
            if folder.is_done(group=group, last=True):
                continue
            console.print(f"measuring: {group}", highlight=False)
            measured = measure()
            for i, record in enumerate(measured):
                folder.append({"group": group, "last": i == len(measured) - 1} | EMPTY | record)
        if "networks" in options.cases and find_spec("torch") is None:
            console.print("pip install 'sffa_jax[torch]' adds PyTorch beside.", highlight=False)
        write_report(folder, options.command())


if __name__ == "__main__":
    sys.exit(execute(main, Options, "benchmark"))
