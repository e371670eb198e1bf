import dataclasses
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from commands import read, start

from experiments import benchmark
from experiments.bench import convolution, lower_bound, memory
from experiments.config.presets import BEST_CONVOLUTION
from experiments.harness.experiment import execute
from experiments.reports import benchmark_tables
from sffa_jax.core.architectures import dense_layers
from sffa_jax.training.backprop import backprop_learner

TINY = [
    *("--networks", "1x16", "--images", "128", "--score-images", "150", "--batch-size", "64"),
    *("--features", "12", "--repeats", "1", "--winners", "3", "--negatives", "uniform"),
    *("--memory-width", "8", "--sweep-widths", "8", "--sweep-seeds", "3"),
]
FIELDS = {
    *("case", "algorithm", "hidden", "winners", "negatives", "parallel", "seconds"),
    *("floor_ratio", "torch_ratio", "peak_mib"),
}


def test_the_command_measures_and_resumes(tmp_path):
    arguments = [*TINY, "--out", str(tmp_path), "--cases", "networks", "sweep"]
    run = start("benchmark", *arguments)
    assert run.returncode == 0, run.stderr
    records = read(tmp_path)
    assert all(record.keys() >= FIELDS for record in records)
    assert {r["case"] for r in records} == {"train_epoch", "score", "compile", "sweep"}
    ours = [r for r in records if r["case"] == "train_epoch" and r["algorithm"] == "sffa"]
    assert {r["winners"] for r in ours} == {0, 3}
    for record in ours:
        beside = next(
            r
            for r in records
            if (r["case"], r["algorithm"], r["negatives"]) == ("train_epoch", "floor", "uniform")
        )
        expected = np.median(record["seconds"]) / np.median(beside["seconds"])
        assert record["floor_ratio"] == pytest.approx(expected)
    assert {"single", "map", "vmap"} <= {r["parallel"] for r in records if r["case"] == "sweep"}
    assert {"report.html", "summary.csv", "config.json"} <= {p.name for p in tmp_path.iterdir()}
    again = start("benchmark", *arguments)
    assert again.returncode == 0, again.stderr
    assert read(tmp_path) == records


def test_memory_is_measured_in_a_process_of_its_own():
    options = benchmark.Options(memory_width=8, features=12, batch_size=64)
    found = benchmark.measure_memory(options, "bp_accumulate", 2)
    assert found[0]["case"] == "memory"
    assert found[0]["peak_mib"] > found[0]["state_mib"] > 0


@pytest.mark.parametrize(
    "shapes",
    [
        lower_bound.Shapes(40, 8, (24,), 10, candidates=2),
        lower_bound.Shapes(40, 8, (24, 32, 16), 10, candidates=2),
        lower_bound.Shapes(40, 8, (24, 32, 16), 10, candidates=2, scored=10),
        lower_bound.Shapes(40, 8, (24, 32), 10, candidates=1, end_to_end=True),
    ],
)
def test_the_floor_does_all_products_in_every_step(shapes):
    """XLA counts a loop's body once: nothing was taken out of the loop or left away."""
    function, argument = lower_bound.training(shapes, 16, num_steps=3)
    lowered = jax.jit(function).lower(argument)
    counted = lowered.compile().cost_analysis()["flops"]
    products = shapes.flops(16)
    # Adam adds about ten operations a parameter.
    assert products <= counted <= 1.6 * products + 4000
    before = argument[0]
    (after, _), _ = function(argument)
    changed = [np.any(np.asarray(after[name]) != np.asarray(before[name])) for name in before]
    assert all(changed)


def test_the_floor_of_scoring_does_all_products_for_every_chunk():
    shapes = lower_bound.Shapes(40, 8, (24, 32), 10, candidates=2)
    function, argument = lower_bound.scoring(shapes, images=60, chunk=20)
    text = jax.jit(function).lower(argument).compile().as_text()
    # Once before the loop and once in it, and the labels' own.
    assert len(re.findall(r"= f32\[\S+ dot\(", text)) == 2 * 2 + 1
    weights, inputs, _, _ = argument
    (changed, products), _ = function(argument)
    assert not np.array_equal(changed[0], weights[0])
    np.testing.assert_allclose(products[1], inputs[1] @ changed[1], rtol=1e-5, atol=1e-6)


def test_variants_of_backprop_take_the_same_step():
    layers = dense_layers((8, 6))
    x = jax.random.normal(jax.random.key(0), (8, 5))
    labels = jnp.arange(8) % 3
    plain = backprop_learner(layers, 3, optax.adam(1e-3))
    state = plain.init(jax.random.key(1), x)
    expected, _ = plain.step(state, jax.random.key(2), x, labels)
    for remat in (True, False):
        _, step = memory.saving_step(layers, 3, remat=remat)
        found, _ = step(state, jax.random.key(2), x, labels)
        # Adam's first step is the gradient's sign: compare the gradients' own moments.
        chex.assert_trees_all_close(found.opt_state[0].mu, expected.opt_state[0].mu, atol=1e-7)


def test_convolutions_are_timed_side_by_side(monkeypatch):
    tiny = {"6x6, 1 to 2 channels, kernel 3": (6, 1, 2, 3, 1)}
    monkeypatch.setattr(convolution, "CONVOLUTIONS", tiny)
    records = convolution.measure_gradient(1)
    _, xla, ours = benchmark_tables.small_table(records)
    assert [xla[1], ours[1]] == ["XLA", "rows of products"]
    assert xla[0] == "four updates in a loop, 128 images 6x6, 1 to 2 channels, kernel 3"
    assert "1.00" in (xla[3], ours[3])


def test_an_update_of_convolutions_stands_beside_its_floor():
    recipe = dataclasses.replace(BEST_CONVOLUTION, channels=(2, 2), batch_size=4)
    records = convolution.measure_update(1, recipe)
    _, least, *updates = benchmark_tables.small_table(records)
    assert least[:2] == ["four updates in a loop, 128 images (2, 2) maps", "the convolutions alone"]
    assert [row[1] for row in updates] == ["SFFA", "FFA", "Backprop"]
    assert all(record["floor_ratio"] > 0 for record in records[1:])


def test_memory_of_convolutions_is_flat_in_depth(monkeypatch):
    """Forward-only layers need the memory of one, backprop of all."""
    monkeypatch.setattr(convolution, "DEPTHS", (4, 8))
    found = convolution.measure_memory()
    scratch = {(r["algorithm"], len(r["channels"])): r["temporary_mib"] for r in found}
    assert scratch["sffa", 8] < 1.3 * scratch["sffa", 4]
    assert scratch["bp", 8] > 1.5 * scratch["bp", 4]
    header, *rows = benchmark_tables.maps_table(found)
    assert header == ["Algorithm", "4 convolutions, MiB", "8 convolutions, MiB"]
    assert [row[0] for row in rows] == ["SFFA", "FFA", "Backprop"]


def test_only_whole_cases_count():
    begun = [{"group": "a", "last": False, "n": 0}]
    whole = [{"group": "a", "last": False, "n": 1}, {"group": "a", "last": True, "n": 2}]
    other = [{"group": "b", "last": True, "n": 3}]
    found = benchmark_tables.whole([*begun, *other, *whole])
    assert [r["n"] for r in found] == [3, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--networks", "1400"], "`networks` must be written as DEPTHxWIDTH, got '1400'"),
        (["--networks", "1x15"], "`networks` must have an even width, got '1x15'"),
        (["--cases", "speed"], "`cases` must be one of"),
        (["--images", "100"], "`batch_size` must be at most the 100 training samples"),
        (["--device", "npu"], "`device` must be one of cpu, gpu, tpu, got 'npu'"),
    ],
)
def test_bad_options(arguments, message, tmp_path, capsys):
    arguments = [*arguments, "--out", str(tmp_path / "out")]
    assert execute(benchmark.main, benchmark.Options, "benchmark", arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
