"""Compares published numbers with our results: a verdict for each claim, made from raw records."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from experiments.claims.published import CLAIMS, Claim, Selection
from experiments.harness.outcomes import DIVERGED
from experiments.harness.results import Results, load_results
from experiments.reports import intervals
from experiments.reports.names import ALGORITHM_NAMES

Reader = Callable[[Path], Results]


def accuracies(
    root: Path, claim: Claim, selection: Selection | None, reader: Reader = load_results
) -> list[float]:
    """Returns the accuracy of each seed as a fraction, or the median over settings.

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
    records = [
        record
        for record in reader(root / folder).records
        if all(record[name] == value for name, value in fields.items())
    ]
    if claim.median:  # a setting that diverged counts as 0
        values = [record["test_accuracy"] or 0.0 for record in records]
        return [float(np.median(values))] if values else []
    done = [record for record in records if record["status"] != DIVERGED]
    return [record.get("average_accuracy", record["test_accuracy"]) for record in done]


def our_number(claim: Claim, values: Sequence[float]) -> str:
    """Formats our result: mean ± half-width and number of seeds, or a median."""
    if not values:
        return "not run"
    if claim.median:
        return f"{100 * values[0]:.2f} (median)"
    return f"{intervals.plus_minus(values)} ({len(values)})"


def published_number(claim: Claim) -> str:
    """Formats the published number or range; ≈ marks one that was read off a plot."""
    if claim.number is None:
        return "-"
    ends = claim.number if isinstance(claim.number, tuple) else (claim.number,)
    return ("≈ " if claim.source == "P" else "") + " to ".join(f"{end:g}" for end in ends)


def verdict(claim: Claim, values: Sequence[float]) -> str:
    """Compares our interval with the published number, or with the released code's if there is no
    published one.

    A number that was read off a plot, or that comes from one seed of the released code, is taken
    to be uncertain by one point.
    """
    number = claim.released if claim.number is None else claim.number
    if number is None or not values:
        return "-"
    least, greatest = number if isinstance(number, tuple) else (number, number)
    ours = intervals.mean_interval(values, intervals.UNIT)
    mean, low, high = (100 * number for number in (ours.mean, *ours.ends))
    uncertainty = 1.0 if claim.number is None or claim.source == "P" else 0.0
    if low > greatest + uncertainty:
        return "exceeded"
    if mean >= least - uncertainty:
        return "reproduced"
    return "below, within the interval" if high >= least - uncertainty else "not reached"


def verdicts(claim: Claim, best: Sequence[float], paper_settings: Sequence[float]) -> str:
    """Joins the verdicts on both runs, and the reason if a number is not reached."""
    parts = [verdict(claim, best)]
    if paper_settings:
        parts.append(f"its settings: {verdict(claim, paper_settings)}")
    if claim.number is None and claim.released is not None and best:
        parts = [f"{part}, to the released code" for part in parts]
    missed = any("not reached" in part or "below" in part for part in parts)
    return "; ".join(parts) + (f" ({claim.reason})" if missed and claim.reason else "")


def table(root: Path, kind: str) -> list[list[str]]:
    """Makes a row for each claim.

    Args:
      root: holds the folders of results.
      kind: one of `CLAIMS`.
    """
    reader = cache(load_results)  # many rows are made from one folder
    if kind == "elsewhere":
        rows = [["What", "Published in", "Published", "Ours", "By", "Verdict"]]
        for claim in CLAIMS[kind]:
            best = accuracies(root, claim, claim.best, reader)
            rows.append(
                [
                    *(claim.task, claim.origin, published_number(claim), our_number(claim, best)),
                    *(ALGORITHM_NAMES[claim.algorithm], verdicts(claim, best, [])),
                ]
            )
        return rows
    rows = [["What", "Algorithm", "Paper", "Released code", "Ours, its settings", "Ours, best"]]
    rows[0].append("Verdict")
    for claim in CLAIMS[kind]:
        paper_settings = accuracies(root, claim, claim.paper_settings, reader)
        best = accuracies(root, claim, claim.best, reader)
        rows.append(
            [
                claim.task,
                ALGORITHM_NAMES[claim.algorithm],
                published_number(claim),
                "-" if claim.released is None else f"{claim.released:g}",
                "-" if claim.paper_settings is None else our_number(claim, paper_settings),
                our_number(claim, best),
                verdicts(claim, best, paper_settings),
            ]
        )
    return rows
