"""Tables of the docs, from records."""

from experiments.claims.doc_tables import ROOT, changed, continual
from experiments.harness.results import Results

RUN = {"scenario": "class", "strategy": "none", "algorithm": "sffa", "average_accuracy": 0.5}


def test_a_table_of_continual_learning_names_runs_that_failed():
    records = [
        RUN | {"seed": 0, "status": "done"},
        RUN | {"seed": 1, "status": "did not learn"},
        RUN | {"seed": 2, "status": "diverged", "average_accuracy": None},
    ]
    folder = ROOT / "results" / "continual" / "x"
    _, row = continual([Results(folder, {"options": {"dataset": "digits"}}, records)])
    words = "did not learn in 1 of 3 runs and diverged in 1 of 3 runs"
    assert row[3] == f"50.00 (50.00 to 50.00) ({words})"


def test_a_table_of_changed_options_has_the_settings_that_runs_share():
    def of(name, options, *strategies):
        records = [
            RUN | {"seed": 0, "status": "done", "strategy": strategy} for strategy in strategies
        ]
        options.setdefault("reset_optimizer", False)
        options |= {"preset": "quick", "algorithms": ["sffa"], "strategies": [*strategies]}
        return Results(ROOT / "results" / name, {"options": options}, records)

    first = of("a", {"learning_rate": 1e-3, "hidden": [8]}, "replay", "ewc", "none")
    second = of("b", {"learning_rate": 3e-3, "hidden": [8], "reset_optimizer": True}, "replay")
    third = of("c", {"learning_rate": 1e-3, "hidden": [4, 4]}, "replay", "none")
    assert changed([first, second, third]) == [
        ["Changed options", "none", "Replay"],
        ["none ([raw](results/a))", "50.00", "50.00"],
        ["`--learning-rate 0.003 --reset-optimizer` ([raw](results/b))", "-", "50.00"],
        ["`--hidden 4 4` ([raw](results/c))", "50.00", "50.00"],
    ]
