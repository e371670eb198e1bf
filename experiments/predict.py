"""Predicts the class of pictures, or of the rows of a table, with a trained network.

    python -m experiments.predict runs/digits picture.png more_pictures --out labels.csv

`runs/digits` is the --out of `compare --save-networks`, or one of the files in its `networks`. Each
line of the result holds the sample's file, its label, the label's probability (empty for networks
that add up probabilities of layers, `--score probability`), and the label that each layer alone
would predict.
"""

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.config.cli import answer_usage
from sffa_jax.checks import reject


@dataclass(frozen=True)
class Options:
    """Predict the class of pictures, or of the rows of a table, with a trained network."""

    run: Annotated[Path, tyro.conf.Positional]
    """Output folder of compare --save-networks, or a file of a network."""
    images: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, folders of pictures, or tables: .npz with `features` or `images`, .csv of features,
    with a header or without."""
    network: str | None = None
    """Name of a file in the run's networks, e.g. sffa-0; None: the one with the highest validation
    accuracy."""
    resize: bool = False
    """Stretch pictures of another size to that of the training images."""
    out: Path | None = None
    """CSV file for the predictions; None: they are printed."""


if __name__ == "__main__":
    answer_usage(Options, "predict")

from scipy import special

from experiments.config.effects import scores_are_logits
from experiments.harness.experiment import execute
from experiments.harness.prediction_inputs import find_files, read_chunks
from experiments.harness.results import load_results
from sffa_jax.training.saved import Saved, load, write_file


def find_network(run: Path, name: str | None) -> Path:
    """Returns the file of the named network, or of the best on validation data.

    Raises:
      ValueError: if the folder has no networks, or none of that name; or if none is named and their
        validation accuracies are not known.
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
    if len(files) == 1:
        return next(iter(files.values()))
    accuracies = {
        f"{record['algorithm']}-{record['seed']}": record.get("validation_accuracy")
        for record in load_results(run).records
    }
    known = {stem: value for stem in files if (value := accuracies.get(stem)) is not None}
    if not known:
        rule = "name one of the networks, because none has a validation accuracy"
        raise reject("predict", "network", rule, "none", f"They are {', '.join(files)}.")
    return files[max(known, key=known.__getitem__)]


def rows(saved: Saved, files: Sequence[Path], resize: bool) -> Iterator[list[Any]]:
    """Yields the header and a row for each sample."""
    names, scored = saved.class_names, saved.learner.scored
    are_logits = scores_are_logits(
        saved.info.get("recipe", {}).get("score", "logit"), saved.info.get("algorithm", "")
    )
    for number, chunk in enumerate(read_chunks(files, saved, resize)):
        scores = saved.scores(chunk.images)
        if not number:
            votes = [f"layer_{layer}" for layer in range(1, len(scores) + 1)]
            yield ["file", "label", "probability", *votes]
        probabilities = special.softmax(scores[scored].sum(axis=0), axis=-1)
        for i, sample in enumerate(chunk.names):
            label = int(probabilities[i].argmax())
            votes = [names[int(layer[i].argmax())] for layer in scores]
            shown = f"{probabilities[i, label]:.6f}" if are_logits else ""
            yield [sample, names[label], shown, *votes]


def main(options: Options) -> None:
    """Reads the samples, chunk by chunk, and writes their predictions."""
    files = find_files(options.images)
    network = find_network(options.run, options.network)
    saved = load(network)
    print(f"Network: {network}", file=sys.stderr)
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows(saved, files, options.resize))
    if options.out is None:
        sys.stdout.write(table.getvalue())
    else:  # a file is whole, or not there
        # A name that is no UTF-8 is escaped, as on the screen.
        text = table.getvalue().encode(errors="backslashreplace")
        write_file(options.out, lambda file: file.write(text))


if __name__ == "__main__":
    sys.exit(execute(main, Options, "predict"))
