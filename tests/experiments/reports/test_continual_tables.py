"""Tables of continual learning, from records."""

from experiments.reports import continual_tables

RUN = {"scenario": "class", "status": "done", "seed": 0}


def records(strategy, algorithm, accuracies):
    of_both = {"strategy": strategy, "algorithm": algorithm}
    return [RUN | of_both | {"seed": s, "average_accuracy": a} for s, a in enumerate(accuracies)]


def test_a_closed_form_belongs_to_no_algorithm():
    """Folders of earlier versions repeat it for each algorithm."""
    runs = [("none", "sffa"), ("none", "bp"), ("slda", "sffa"), ("slda", "bp")]
    ordered = continual_tables.ordered([r for run in runs for r in records(*run, [0.8])])
    table = continual_tables.accuracy_table(ordered)
    assert table[0][2:] == ["SFFA, %", "Backprop, %", "Closed form, %"]
    assert table[2][1:] == ["Streaming LDA, pixels", "-", "-", "80.00 (one seed)"]
    tests = continual_tables.tests_table(ordered)
    assert {row[1] for row in tests[1:]} == {"none"}


def test_significant_rows_are_those_of_the_whole_table():
    noise = [0.01, -0.02, 0.02, 0.0, -0.01]
    runs = records("none", "sffa", [0.5 + x for x in noise]) + records("none", "bp", [0.5] * 5)
    runs += records("replay", "sffa", [0.9 + x / 10 for x in noise])
    runs += records("replay", "bp", [0.5] * 5)
    header, *rows = continual_tables.tests_table(runs)
    assert [float(row[-1]) <= 0.05 for row in rows] == [False, True]
    assert continual_tables.significant_table(runs) == [header, rows[1]]
    none = ["none of 1", "-", "-", "-", "-"]
    assert continual_tables.significant_table(runs[:10]) == [header, none]
