import pytest

from experiments.harness.results import Results
from experiments.reports import overview


def case(name, sffa, ffa):
    values = {"sffa": dict(enumerate(sffa)), "ffa": dict(enumerate(ffa))}
    return overview.Case(name, values, {})


A, B = [0.9, 0.92, 0.95, 0.92, 0.92], [0.5, 0.6, 0.55, 0.56, 0.57]


def test_differences_are_paired_and_corrected_together():
    cases = [case("a", A, [0.8] * 5), case("b", B, [0.5, 0.7, 0.6, 0.6, 0.6])]
    _, first, second = overview.accuracy_table(cases)
    assert first[0] == "a"
    assert first[4].startswith("12.20 [")
    assert second[4].startswith("-4.40 [")
    alone = overview.accuracy_table(cases[:1])[1][5]
    assert float(first[5]) == pytest.approx(2 * float(alone), rel=0.05)
    assert first[3] == first[6] == "-"
    axes = overview.differences_figure(cases).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_a_choice_on_the_test_set_is_named(tmp_path):
    def name(**options):
        run = Results(tmp_path / "a", {"options": {"dataset": "mnist", **options}}, [])
        return overview.run_name(run)

    assert name(selection="last") == "a: mnist"
    assert name(selection="test") == "a: mnist (epoch chosen on the test set)"


def test_a_case_without_sffa_has_no_difference():
    lone = overview.Case("bp alone", {"bp": {0: 0.5, 1: 0.6}}, {"bp": "diverged in 1 of 3 runs"})
    assert overview.differences(lone) == {}
    cell = "55.00 (50.00 to 60.00, 2 seeds) (diverged in 1 of 3 runs)"
    assert overview.accuracy_table([lone])[1][1:4] == ["-", "-", cell]
    assert overview.accuracy_table([lone])[1][4:] == ["-"] * 4
