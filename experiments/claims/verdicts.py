"""Compares published numbers with our results: a verdict for each claim, made from raw records."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from experiments.claims.published import CLAIMS, Claim, Selection
from experiments.config.continual_methods import METHODS
from experiments.harness.queries import where
from experiments.harness.results import Results, load_results
from experiments.reports import intervals
from experiments.reports.names import ALGORITHM_NAMES

Reader = Callable[[Path], Results]


def accuracies(
    root: Path, claim: Claim, selection: Selection | None, reader: Reader = load_results
) -> list[float]:
    """Returns the accuracy of each seed as a fraction, or the median over settings; a run that
    diverged counts as 0.

    Args:
      root: holds the folders of results.
      claim: whose number is compared.
      selection: the claim's `paper_settings` or `best`.
      reader: reads a folder.

    Returns:
      An empty list if the runs do not exist.
    """
    if selection is None or not (root / selection[0] / "config.json").exists():
        return []
    folder, fields = selection
    records = where(reader(root / folder).records, **fields)
    values = [record.get("average_accuracy", record["test_accuracy"]) or 0.0 for record in records]
    return [float(np.median(values))] if claim.median and values else values


def our_number(claim: Claim, values: Sequence[float]) -> str:
    """Formats our result: mean ± half-width and number of seeds, or a median."""
    if not values:
        return "not run"
    if claim.median:
        return f"{100 * values[0]:.2f} (median)"
    return f"{intervals.plus_minus(values)} ({len(values)})"


def published_number(claim: Claim) -> str:
    """Formats the published number."""
    return "-" if claim.number is None else f"{claim.number:g}"


WIDEST = 2.0
"""Largest half-width of an interval that reproduces a number, points."""


def verdict(claim: Claim, values: Sequence[float], *, same_settings: bool = False) -> str:
    """Compares our interval with the published number.

    An interval below five seeds is their range.

    Args:
      claim: holds the number.
      values: our accuracies.
      same_settings: whether they were made with the publication's settings.

    Returns:
      "exceeded" or "not reached" if the whole interval is above or below the number. Otherwise
      "undecided" for a half-width of `WIDEST` or more and for one seed, else "reproduced" with the
      same settings and "level" with others. "-" without number or values.
    """
    if claim.number is None or not values:
        return "-"
    ours = intervals.mean_interval(values, intervals.UNIT)
    low, high = (100 * end for end in ours.ends)
    if claim.median:
        return "exceeded" if low > claim.number else "not reached"
    if len(values) == 1 or (low <= claim.number <= high and (high - low) / 2 >= WIDEST):
        return "undecided"
    if low > claim.number:
        return "exceeded"
    if high < claim.number:
        return "not reached"
    return "reproduced" if same_settings else "level"


def verdicts(claim: Claim, best: Sequence[float], paper_settings: Sequence[float]) -> str:
    """Joins the verdicts on both runs, and the reason if a number is not reached."""
    parts = [verdict(claim, best)]
    if paper_settings:
        parts.append(f"its settings: {verdict(claim, paper_settings, same_settings=True)}")
    missed = any("not reached" in part for part in parts)
    return "; ".join(parts) + (f" ({claim.reason})" if missed and claim.reason else "")


def table(root: Path, kind: str) -> list[list[str]]:
    """Makes the rows of one kind of claims.

    Args:
      root: holds the folders of results.
      kind: one of `CLAIMS`.
    """
    reader = cache(load_results)  # many rows are made from one folder

    def ours(claim: Claim) -> tuple[list[float], list[float]]:
        selections = (claim.paper_settings, claim.best)
        first, second = (accuracies(root, claim, selection, reader) for selection in selections)
        return first, second

    makers = {"continual": continual_table, "elsewhere": elsewhere_table, "port": port_table}
    return makers.get(kind, classification_table)(CLAIMS[kind], ours)


Ours = Callable[[Claim], tuple[list[float], list[float]]]
"""Returns our accuracies with the publication's settings, and the best."""


def classification_table(claims: Sequence[Claim], ours: Ours) -> list[list[str]]:
    """Makes a row for each claim of the paper on classification."""
    rows = [["What", "Algorithm", "Paper", "Ours, its settings", "Ours, best", "Verdict"]]
    for claim in claims:
        paper_settings, best = ours(claim)
        name, number = ALGORITHM_NAMES[claim.algorithm], published_number(claim)
        numbers = [our_number(claim, values) for values in (paper_settings, best)]
        rows.append([claim.task, name, number, *numbers, verdicts(claim, best, paper_settings)])
    return rows


def _by(claim: Claim) -> str:
    """Names what trained our runs: closed forms are no result of an algorithm."""
    _, fields = claim.best or ("", {})
    strategy = fields.get("strategy")
    if strategy is not None and not METHODS[strategy].trained:
        return "closed form"
    return ALGORITHM_NAMES[claim.algorithm]


def elsewhere_table(claims: Sequence[Claim], ours: Ours) -> list[list[str]]:
    """Makes a row for each number of another publication."""
    rows = [["What", "Published in", "Published", "Ours", "By", "Verdict"]]
    for claim in claims:
        _, best = ours(claim)
        published = [claim.task, claim.origin, published_number(claim)]
        rows.append([*published, our_number(claim, best), _by(claim), verdicts(claim, best, [])])
    return rows


def port_table(claims: Sequence[Claim], ours: Ours) -> list[list[str]]:
    """Makes a row for each accuracy whose settings are published, with the difference from it."""
    rows = [["Data, activation", "Authors", "Ours", "Ours - authors, points"]]
    for claim in claims:
        values, _ = ours(claim)
        difference = f"{100 * np.mean(values) - (claim.number or 0):+.2f}" if values else "-"
        rows.append([claim.task, published_number(claim), our_number(claim, values), difference])
    return rows


def continual_table(claims: Sequence[Claim], ours: Ours) -> list[list[str]]:
    """Makes a row for each scenario and strategy, with all three algorithms."""
    by_task: dict[str, dict[str, Claim]] = {}
    for claim in claims:
        by_task.setdefault(claim.task, {})[claim.algorithm] = claim
    head = ["What"]
    for name in ("SFFA", "Backprop"):
        head += [f"{name}: paper (its code)", "ours: its settings / best", "verdict"]
    rows = [[*head, "FFA: its code", "ours: its settings / best"]]
    for task, of_algorithm in by_task.items():
        row = [task]
        for algorithm in ("sffa", "bp", "ffa"):
            claim = of_algorithm[algorithm]
            paper_settings, best = ours(claim)
            code = "-" if claim.released is None else f"{claim.released:g}"
            numbers = [
                our_number(claim, values) if values else "-" for values in (paper_settings, best)
            ]
            if algorithm == "ffa":
                row += [code, " / ".join(numbers)]
            else:
                row += [f"{published_number(claim)} ({code})", " / ".join(numbers)]
                row.append(verdicts(claim, best, paper_settings))
        rows.append(row)
    return rows
