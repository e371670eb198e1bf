import pytest
from run_records import DEVICE, trained, write_results

from experiments.claims import machine_time


@pytest.fixture
def write(tmp_path):
    def written(name, platform, records, cores=2, **changes):
        device = DEVICE | {"platform": platform, "host_cores": cores}
        write_results(tmp_path / name, records, device=device, **changes)

    return written


def record(algorithm, seconds, epochs=1, seed=0):
    return trained(algorithm, seed, train_seconds=seconds, epochs=epochs)


def test_minutes_on_two_cores_come_from_a_short_run(tmp_path, monkeypatch, write):
    write("whole", "gpu", [record("sffa", 1.0, 60), record("bp", 1.0, 60)])
    write("short", "cpu", [record("sffa", 4.0, 2), record("bp", 2.0, 2), record("ffa", 9.0, 2)])
    assert machine_time.two_core_minutes(tmp_path, "whole", 10) is None
    monkeypatch.setitem(machine_time.TWO_CORE_RUNS, "whole", "short")
    assert machine_time.two_core_minutes(tmp_path, "whole", 10) == 3 * 60 * 10 / 60
    assert machine_time.two_core_minutes(tmp_path, "short", 10) == 15 * 10 / 60
    assert machine_time.table(tmp_path, ["whole", "short"])[-1][-1] == "≈ 0.5 hours"


def test_a_row_for_each_folder(tmp_path, write):
    write(
        "compare/x", "cpu", [record("sffa", 30.0, seed=s) for s in (0, 1)] + [record("ffa", 30.0)]
    )
    untimed = {"dataset": "digits", "algorithm": "sffa", "seed": 0, "setting": "x"}
    untimed |= {"gradient_norms": [[[1.0, 1.0]]], "probe_accuracy": 0.9}
    write("compare/untimed", "cpu", [untimed], experiment="symmetry")
    _, row, missing, untimed, last = machine_time.table(
        tmp_path, ["compare/x", "compare/y", "compare/untimed"]
    )
    assert row == ["compare/x", "3", "2 cores", "30", "1.5", "7.5"]
    assert missing == ["compare/y", "not run", "-", "-", "-", "-"]
    assert untimed == ["compare/untimed", "1", "-", "not recorded", "-", "-"]
    assert last == ["all steps", "-", "-", "-", "-", "≈ 0.1 hours"]


@pytest.mark.parametrize(("cores", "name"), [(1, "1 core"), (None, "CPU")])
def test_times_on_another_number_of_cores_are_estimates(tmp_path, write, cores, name):
    """None: the starts of the folder had several numbers of cores."""
    write("compare/x", "cpu", [record("sffa", 60.0)], cores=cores)
    _, row, _ = machine_time.table(tmp_path, ["compare/x"])
    assert row == ["compare/x", "1", name, "60", "1", "≈ 10"]
