"""Predicts the class of pictures with a trained network.

    python -m experiments.predict runs/digits picture.png more_pictures --out labels.csv

`runs/digits` is the --out of `compare --save-networks`, or one of the files in its `networks`. Each
line of the result holds the file, its label, the label's probability, and the label that each layer
alone would predict.
"""

import contextlib
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TextIO

import tyro

from experiments.config.cli import answer_usage
from sffa_jax.checks import reject

CHUNK = 500
"""Number of pictures read at once."""


@dataclass(frozen=True)
class Options:
    """Predict the class of pictures with a trained network."""

    run: Annotated[Path, tyro.conf.Positional]
    """Output folder of compare --save-networks, or a file of a network."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, or folders of pictures."""
    network: str | None = None
    """Name of a file in the run's networks, e.g. sffa-0; None: the one with the highest validation
    accuracy."""
    resize: bool = False
    """Stretch pictures of another size to that of the training images."""
    out: Path | None = None
    """CSV file for the predictions; None: they are printed."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """Returns the options before the command line is read."""
        del arguments
        return cls(tyro.MISSING, tyro.MISSING)


if __name__ == "__main__":
    answer_usage(Options, "predict")

import numpy as np

from experiments.harness.experiment import execute
from experiments.harness.results import load_results
from sffa_jax import data
from sffa_jax.training.saved import Saved, load


def find_network(run: Path, name: str | None) -> Path:
    """Returns the file of the named network, or of the best on validation data.

    Raises:
      ValueError: if the folder has no networks, or none of that name.
    """
    if not run.exists():
        raise reject("predict", "run", "exist", str(run))
    if not run.is_dir():
        if name is not None:
            raise reject("predict", "network", f"be left out for the file {run}", repr(name))
        return run
    files = {path.stem: path for path in sorted((run / "networks").glob("*.npz"))}
    if not files:
        advice = "`compare --save-networks` writes them."
        raise reject("predict", "run", "contain networks", f"none in {run / 'networks'}", advice)
    if name is not None:
        if name not in files:
            raise reject("predict", "network", f"be one of {', '.join(files)}", repr(name))
        return files[name]
    accuracies = {
        f"{record['algorithm']}-{record['seed']}": record.get("validation_accuracy") or 0.0
        for record in load_results(run).records
    }
    return files[max(files, key=lambda stem: accuracies.get(stem, 0.0))]


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """Returns the pictures that the paths name; those of a folder are sorted by name.

    Raises:
      ValueError: if a path does not exist, or a folder has no pictures.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in data.SUFFIXES)
            if not inside:
                raise reject("predict", "images", "contain pictures", f"none in {path}")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            raise reject("predict", "images", "exist", str(path))
    if not files:
        raise reject("predict", "images", "name at least one picture", "none")
    return files


def read_pictures(files: Sequence[Path], shape: Sequence[int], resize: bool) -> np.ndarray:
    """Returns pictures as images of the training images' shape.

    Raises:
      ValueError: for a damaged picture, or one of another size without `resize`.
    """
    height, width = shape[:2]
    color = "rgb" if len(shape) == 3 and shape[2] == 3 else "gray"
    images = []
    for file in files:
        image = data.read_picture(file)
        if image.shape[:2] != (height, width) and not resize:
            got = f"{image.shape[0]}x{image.shape[1]} in {file}"
            rule = f"be {height}x{width} pixels, like the training images"
            raise reject("predict", "images", rule, got, "--resize stretches pictures.")
        images.append(data.unify(image[None], (height, width), color)[0])
    return np.stack(images)


def rows(saved: Saved, files: Sequence[Path], resize: bool) -> Iterator[list[Any]]:
    """Yields the header and a row for each picture."""
    names, shape = saved.class_names, saved.info.get("image_shape")
    if not saved.pixels or not shape or len(shape) not in (2, 3):
        advice = "In Python, `load(file).predict(rows)` takes arrays."
        raise reject("predict", "run", "be a network for pictures", "one for other data", advice)
    first = saved.learner.first_scored
    for start in range(0, len(files), CHUNK):
        chunk = files[start : start + CHUNK]
        scores = saved.scores(read_pictures(chunk, shape, resize))
        if not start:
            votes = [f"layer_{layer}" for layer in range(1, len(scores) + 1)]
            yield ["file", "label", "probability", *votes]
        summed = scores[first:].sum(axis=0)
        exponentials = np.exp(summed - summed.max(axis=-1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
        for i, file in enumerate(chunk):
            label = int(probabilities[i].argmax())
            votes = [names[int(layer[i].argmax())] for layer in scores]
            yield [str(file), names[label], f"{probabilities[i, label]:.6f}", *votes]


def main(options: Options) -> None:
    """Reads the pictures, chunk by chunk, and writes their predictions."""
    files = find_pictures(options.images)
    network = find_network(options.run, options.network)
    saved = load(network)
    print(f"Network: {network}", file=sys.stderr)
    with contextlib.ExitStack() as inside:
        target: TextIO = sys.stdout
        if options.out is not None:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            target = inside.enter_context(options.out.open("w", newline="", encoding="utf-8"))
        csv.writer(target, lineterminator="\n").writerows(rows(saved, files, options.resize))


if __name__ == "__main__":
    sys.exit(execute(main, Options, "predict"))
