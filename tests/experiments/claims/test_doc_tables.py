"""Tables of the docs, from records."""

from experiments.claims.doc_tables import ROOT, continual
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
