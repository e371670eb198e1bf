"""What every training experiment is told on the command line, and the data it names."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import optax

from experiments.presets import ALGORITHMS, PRESETS, Preset, make_network, make_optimiser
from experiments.run_folder import RunFolder
from sffa_jax import data
from sffa_jax.backprop import backprop_learner
from sffa_jax.checks import check_choice, check_integer, check_range, reject
from sffa_jax.layers import dense_layers
from sffa_jax.learner import Learner
from sffa_jax.local import local_learner
from sffa_jax.negatives import NEGATIVES
from sffa_jax.network import Network
from sffa_jax.rules import LocalRule
from sffa_jax.sweep import WAYS
from sffa_jax.train import Samples, Schedule, make_samples

FREE_OPTIONS = ("out", "data_dir", "seeds", "algorithms", "parallel")
"""Options that do not change any single run, so that a second start may change them."""


@dataclass(frozen=True)
class Options:
    """Options that all training experiments share; None stands for the preset's value."""

    dataset: str = "digits"
    """Data set: digits (embedded), mnist, fashion_mnist or kmnist."""
    data_dir: Path | None = None
    """Folder with one sub-folder per set holding the published files; or set SFFA_DATA_DIR."""
    algorithms: tuple[str, ...] = ALGORITHMS
    """Algorithms to compare: ffa, sffa, bp."""
    seeds: int = 10
    """Number of seeds; the seeds are 0 .. N-1."""
    preset: str = "two_pass"
    """Recipe: two_pass (one wrong label per image, sharp log-odds, cosine decay)."""
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

    def resolve(self) -> Self:
        """Fills in the preset's values and checks every option.

        Raises:
          ValueError: naming the first option that cannot be used.
        """
        check_choice("options", "dataset", self.dataset, data.NAMES)
        check_choice("options", "preset", self.preset, PRESETS)
        check_choice("options", "parallel", self.parallel, ["auto", *WAYS])
        check_choice("options", "negatives", self.negatives, NEGATIVES)
        if not self.algorithms:
            raise reject("options", "algorithms", f"name one of {', '.join(ALGORITHMS)}", "none")
        for algorithm in self.algorithms:
            check_choice("options", "algorithms", algorithm, ALGORITHMS)
        check_integer("options", "seeds", self.seeds, 1)
        check_range("options", "validation", self.validation, above=0, at_most=0.9)
        filled = {
            name: getattr(self.recipe, name)
            for name in ("hidden", "epochs", "batch_size", "learning_rate")
            if getattr(self, name) is None
        }
        return dataclasses.replace(self, algorithms=tuple(dict.fromkeys(self.algorithms)), **filled)

    @property
    def recipe(self) -> Preset:
        """The preset that is named."""
        return PRESETS[self.preset]

    def schedule(self) -> Schedule:
        """Epochs and batches of resolved options."""
        assert self.epochs is not None
        assert self.batch_size is not None
        return Schedule(self.epochs, self.batch_size)

    def network(self, algorithm: str, num_classes: int, rule: LocalRule | None = None) -> Network:
        """The forward-only network of resolved options; `rule` replaces the preset's."""
        assert self.hidden is not None
        return make_network(
            self.recipe,
            algorithm,
            hidden=self.hidden,
            num_classes=num_classes,
            winners=self.winners,
            rule=rule,
        )

    def optimiser(self, num_samples: int) -> optax.GradientTransformation:
        """The optimiser of resolved options, for a training split of this size."""
        assert self.learning_rate is not None
        schedule = self.schedule()
        num_steps = schedule.epochs * schedule.steps_per_epoch(num_samples)
        return make_optimiser(self.learning_rate, num_steps)

    def learner(self, algorithm: str, num_classes: int, num_samples: int) -> Learner:
        """The learner that resolved options describe.

        Args:
          algorithm: "ffa", "sffa" or "bp".
          num_classes: number of labels.
          num_samples: size of the training split, which the learning rate's decay depends on.
        """
        optimiser = self.optimiser(num_samples)
        if algorithm == "bp":
            assert self.hidden is not None
            return backprop_learner(dense_layers(self.hidden), num_classes, optimiser)
        network = self.network(algorithm, num_classes)
        return local_learner(network, optimiser, negatives=self.negatives)

    def command(self, name: str) -> str:
        """The command that repeats the run."""
        words = [f"python -m experiments.{name}"]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default and field.name != "out":
                values = value if isinstance(value, tuple) else (value,)
                words.append(f"--{field.name.replace('_', '-')} {' '.join(map(str, values))}")
        return " ".join(words)


@dataclass(frozen=True)
class Splits:
    """A data set's three splits on the device, scaled by the training split's statistics."""

    dataset: data.Dataset
    training: Samples
    validation: Samples
    test: Samples

    @property
    def record(self) -> dict[str, Any]:
        """What `config.json` says of the data: its source and the hash of its content."""
        return {"source": self.dataset.source, "sha256": self.dataset.sha256}


def load_splits(options: Options) -> Splits:
    """Loads the data set and holds out the validation split, the same for every seed."""
    dataset = data.load(options.dataset, options.data_dir)
    images, labels = dataset.train_images, dataset.train_labels
    train, validation = data.stratified_split(labels, options.validation, seed=0)
    mean, std = data.statistics(images[train])
    scale: dict[str, Any] = {"mean": mean, "std": std, "num_classes": dataset.num_classes}
    return Splits(
        dataset,
        make_samples(images[train], labels[train], **scale),
        make_samples(images[validation], labels[validation], **scale),
        make_samples(dataset.test_images, dataset.test_labels, **scale),
    )


def open_folder(options: Options, name: str, splits: Splits) -> RunFolder:
    """The output folder of resolved options, new or continued, as a context manager.

    Raises:
      ValueError: if the folder cannot be used, or holds the results of other options or data.
    """
    return RunFolder(
        options.out,
        name,
        dataclasses.asdict(options),
        extra={"data": splits.record},
        free=FREE_OPTIONS,
    )
