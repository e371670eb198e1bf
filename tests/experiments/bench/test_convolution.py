import dataclasses

import pytest
from unchecked import no_shape_checks

from experiments.bench import convolution
from experiments.config.presets import BEST_CONVOLUTION
from experiments.reports import benchmark_tables


@pytest.fixture(autouse=True)
def lowered_programs_are_not_checked():
    with no_shape_checks():
        yield


def test_convolutions_are_timed_side_by_side(monkeypatch):
    tiny = {"6x6, 1 to 2 channels, kernel 3": (6, 1, 2, 3, 1)}
    monkeypatch.setattr(convolution, "CONVOLUTIONS", tiny)
    records = convolution.measure_gradient(1)
    _, xla, ours = benchmark_tables.kernels_table(records)
    assert [xla[1], ours[1]] == ["XLA", "rows of products"]
    assert xla[0] == "four updates in a loop, 128 images 6x6, 1 to 2 channels, kernel 3"
    assert "1.00" in (xla[3], ours[3])


def test_an_update_of_convolutions_stands_beside_its_lower_bound():
    recipe = dataclasses.replace(BEST_CONVOLUTION, channels=(2, 2), batch_size=4)
    records = convolution.measure_update(1, recipe)
    _, least, *updates = benchmark_tables.kernels_table(records)
    assert least[:2] == ["four updates in a loop, 4 images (2, 2) maps", "the convolutions alone"]
    assert [row[1] for row in updates] == ["SFFA", "FFA", "Backprop"]
    assert all(record["floor_ratio"] > 0 for record in records[1:])


def test_updates_on_photographs_include_augmentation(monkeypatch):
    tiny = dataclasses.replace(
        convolution.PHOTOGRAPHS, channels=(2,), pooled=(0,), first_scored=0, batch_size=4
    )
    monkeypatch.setattr(convolution, "PHOTOGRAPHS", tiny)
    records = convolution.parts_photographs(1)["bfloat16"]()
    names = [record["algorithm"] for record in records]
    network = "(2,) maps of 32x32x3, bfloat16"
    assert names[1:] == [f"{network}, {name}" for name in ("sffa", "ffa", "bp")]
    assert all(record["floor_ratio"] > 0 for record in records[1:])


def test_memory_of_convolutions_is_flat_in_depth(monkeypatch):
    """Forward-only layers need the memory of one, backprop of all."""
    monkeypatch.setattr(convolution, "DEPTHS", (4, 8))
    monkeypatch.setattr(convolution, "SHAPE", (12, 12))
    found = convolution.measure_memory()
    scratch = {(r["algorithm"], len(r["channels"])): r["temporary_mib"] for r in found}
    assert scratch["sffa", 8] < 1.3 * scratch["sffa", 4]
    assert scratch["bp", 8] > 1.5 * scratch["bp", 4]
    header, *rows = benchmark_tables.maps_table(found)
    assert header == ["Algorithm", "4 convolutions, MiB", "8 convolutions, MiB"]
    assert [row[0] for row in rows] == ["SFFA", "FFA", "Backprop"]
