"""The continual-learning report, made from records alone."""

from functools import partial

from experiments.config.continual_methods import METHODS, method_label
from experiments.harness.outcomes import DIVERGED, finished
from experiments.harness.queries import Records, distinct, where
from experiments.harness.results import Results
from experiments.reports import continual_figures, continual_tables, unit_turnover
from experiments.reports.html_report import Picture, Section
from experiments.reports.names import SCENARIO_NAMES, algorithm_name


def notes(records: Records) -> str:
    """Returns the notes on the methods in the records, one sentence each."""
    methods = [METHODS[n] for n in distinct(records, "strategy") if n in METHODS]
    return "".join(f" {method.label}: {method.note}." for method in methods if method.note)


def tuning_note(records: Records) -> str:
    """Returns a sentence about tuned numbers at the edge of what was tried, if there are any."""
    cells = dict.fromkeys(
        f"{SCENARIO_NAMES[r['scenario']]} {method_label(r['strategy'])} "
        f"{algorithm_name(r['algorithm'])} ({name.replace('_', ' ')} {r[name]:g})"
        for r in records
        for name in ("strength", "learning_rate")
        if r.get(f"{name}_at_edge")
    )
    if not cells:
        return ""
    return f" Tuned numbers at the edge of the values that were tried: {', '.join(cells)}."


def section(results: Results) -> Section:
    """Tables and figures of a grid of runs."""
    records = continual_tables.ordered(results.records)
    cells = continual_tables.summary(records)
    tables = {"Accuracy over all tasks, at the end": continual_tables.accuracy_table(records)}
    tests = continual_tables.tests_table(records)
    if len(tests) > 1:
        tables["Paired tests"] = tests
    if len(cells):
        tables["Forgetting, transfer and cost"] = continual_tables.measures_table(cells)
    trained = [r for r in finished(records) if r["algorithm"] != "readout"]
    neurons = unit_turnover.table(trained)
    if len(neurons) > 1:
        tables["Units at the end, and their turnover during later tasks"] = neurons
    pictures = []
    for scenario in distinct(finished(records), "scenario"):
        name = SCENARIO_NAMES[scenario]
        pictures += [
            Picture(
                f"curves_{scenario}.png",
                f"Accuracy over the tasks seen so far, {name}.",
                partial(continual_figures.curves_figure, records, scenario),
            ),
            Picture(
                f"matrices_{scenario}.png",
                f"Accuracy on each task (across) after each task (down), {name}.",
                partial(continual_figures.matrices_figure, records, scenario),
            ),
        ]
        runs = where(trained, scenario=scenario)
        for layer in range(unit_turnover.depth(runs)):
            pictures.append(
                Picture(
                    f"neurons_{scenario}_layer_{layer + 1}.png",
                    f"Turnover of layer {layer + 1}'s units during each task, {name}: fractions, "
                    "mean over seeds. A unit belongs to a class if more than half of its activity "
                    "is for that class; reused: it belongs to another class than before.",
                    partial(unit_turnover.turnover_figure, runs, layer),
                )
            )
    diverged = sum(record["status"] == DIVERGED for record in records)
    dataset = records[0]["dataset"]
    held_out = results.options.get("held_out")
    tested = "held-out training images, not on test images" if held_out else "test images"
    return Section(
        title=f"Continual learning on {dataset}",
        lead=(
            f"{len(records)} runs on {dataset}"
            + (f", of which {diverged} diverged and are excluded" if diverged else "")
            + ". Each learns the classes a few at a time and is tested on all tasks after each. "
            f"Accuracy is the mean of the tasks' accuracies after the last task, on {tested}. "
            "Forgetting is "
            "the drop of a task from its best accuracy to its last. Backward transfer is the "
            "effect of later tasks on earlier ones, forward transfer that of earlier tasks on "
            "later ones (points); their table is in the order of what a method stores: "
            "images of earlier tasks, its statistics, and the network's parameters. "
            f"Time includes the evaluations.{notes(records)}{tuning_note(records)}"
        ),
        tables=tables,
        pictures=pictures,
        records=records,
        summary=cells,
    )
