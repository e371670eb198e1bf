"""The scikit-learn estimators beside scikit-learn's own classifiers, on tables of features.

    python -m experiments.estimators --dataset breast_cancer

The report has two parts. In *five folds*, each classifier is cross-validated. *Class by class*, the
estimators get two classes at a time and replay some stored samples (digits only). Both tables come
with scikit-learn.
"""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.config.cli import answer_usage
from experiments.config.options import check_names, command_of
from experiments.config.sizes import MOST_SEEDS
from sffa_jax.checks import check_choice, check_integer, check_range

DATASETS = ("breast_cancer", "digits")
ALGORITHMS = ("sffa", "ffa", "mlp", "logistic")


@dataclass(frozen=True)
class Options:
    """Cross-validate SFFA, FFA and two classifiers of scikit-learn; let classes arrive later."""

    dataset: str = "digits"
    """Table of features: breast_cancer or digits."""
    algorithms: tuple[str, ...] = ALGORITHMS
    """Classifiers: sffa, ffa (with their defaults), mlp (MLPClassifier, 200 units), logistic
    (LogisticRegression)."""
    seeds: int = 5
    """Number of seeds; the seeds are 0 .. N-1. A seed draws the folds and the weights."""
    max_iter: int = 100
    """Passes of SFFA and FFA over their training samples; a fifth of it for each two classes."""
    out: Path | None = None
    """Folder for the results; a second start with the same folder resumes it."""

    def check(self) -> None:
        """Checks every option.

        Raises:
          ValueError: naming the first invalid option.
        """
        check_choice("options", "dataset", self.dataset, DATASETS)
        check_names("algorithms", self.algorithms, ALGORITHMS)
        check_integer("options", "seeds", self.seeds, 1)
        check_range("options", "seeds", self.seeds, at_most=MOST_SEEDS)
        check_integer("options", "max_iter", self.max_iter, 5)


if __name__ == "__main__":
    answer_usage(Options, "estimators")

from experiments.harness.estimator_runs import load_table, measure, settings_of
from experiments.harness.experiment import execute
from experiments.harness.records import run_of
from experiments.harness.run_folder import RunFolder
from experiments.reports.sections import write_report


def main(options: Options) -> None:
    """Makes the runs that the output folder lacks and writes its report."""
    options.check()
    options = dataclasses.replace(options, algorithms=tuple(dict.fromkeys(options.algorithms)))
    grid = [
        (algorithm, setting)
        for algorithm in options.algorithms
        for setting in settings_of(options.dataset, algorithm)
    ]
    table = load_table(options.dataset)
    recorded = dataclasses.asdict(options)
    free = ("out", "algorithms", "seeds")
    with RunFolder(options.out, "estimators", recorded, free=free) as folder:
        folder.keep(command=command_of("estimators", options, folder.config["options"]))
        done = set(map(run_of, folder.records))
        for algorithm, setting in grid:
            print(f"{algorithm}, {setting.name}", flush=True)
            for seed in range(options.seeds):
                run: dict[str, Any] = {"dataset": options.dataset, "algorithm": algorithm}
                run |= {"setting": setting.name, "seed": seed}
                if run_of(run) not in done:
                    fields = measure(table, algorithm, setting, seed, options.max_iter)
                    folder.append(run | fields)
        write_report(folder)


if __name__ == "__main__":
    sys.exit(execute(main, Options, "estimators"))
