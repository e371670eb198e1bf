import numpy as np
import pytest
from commands import read, run_command

from experiments.config.continual_options import Options
from experiments.harness.continual_runs import load_data
from sffa_jax import data

TINY = [*("--preset", "quick", "--hidden", "8", "--epochs", "1", "--algorithms", "sffa")]
TINY += [*("--seeds", "1", "--scenarios", "class", "--strategies", "none", "--parallel", "map")]


def test_held_out_images_come_from_the_training_images():
    dataset = data.load("digits")
    options = Options(held_out=True, validation=0.25).resolve()
    published = load_data(options, dataset, held_out=False)
    halves = load_data(options, dataset, held_out=True)
    assert len(published.train.labels) == len(dataset.train_labels)
    assert len(published.test.labels) == len(dataset.test_labels)
    assert len(halves.train.labels) + len(halves.test.labels) == len(dataset.train_labels)
    assert len(halves.test.labels) == pytest.approx(len(dataset.train_labels) / 4, abs=10)


def test_no_test_image_changes_a_held_out_run(tmp_path):
    digits = data.load("digits")
    records = []
    for name, test_images in [("a", digits.test_images), ("b", digits.test_images[::-1])]:
        np.savez(
            tmp_path / f"{name}.npz",
            train_images=digits.train_images,
            train_labels=digits.train_labels,
            test_images=test_images,
            test_labels=digits.test_labels,
        )
        given = [*TINY, "--dataset", f"npz:{tmp_path / name}.npz", "--out", str(tmp_path / name)]
        assert run_command("continual", *given, "--held-out").status == 0
        given[-1] += "_test"
        assert run_command("continual", *given).status == 0
        records.append([read(tmp_path / f"{name}{end}")[0] for end in ("", "_test")])
    (held_out, tested), (held_out_reversed, tested_reversed) = records
    assert held_out["accuracy_matrix"] == held_out_reversed["accuracy_matrix"]
    assert tested["accuracy_matrix"] != tested_reversed["accuracy_matrix"]
    report = (tmp_path / "a" / "report.html").read_text()
    assert "on held-out training images, not on test images" in report
    assert "on test images" in (tmp_path / "a_test" / "report.html").read_text()


def test_a_search_does_not_choose_by_the_images_that_are_tested():
    for searched in ({"tune": 3}, {"tune_rates": (1e-3, 1e-2)}):
        with pytest.raises(ValueError, match="`held_out` must be False with --tune"):
            Options(held_out=True, **searched).resolve()
