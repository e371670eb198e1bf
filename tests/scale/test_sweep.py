"""Many runs in one program: every mode and every chunk gives what each run gives alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from unchecked import no_shape_checks

from sffa_jax.scale import sweep
from sffa_jax.scale.placement import Placement, available

KEYS = sweep.seed_keys(range(10))
RATES = jnp.arange(10.0)


def run(key, rate):
    return {"noise": jax.random.normal(key, (3,)), "scaled": rate * 2}


@pytest.fixture(scope="module")
def alone():
    one_run = jax.jit(run)
    runs = [one_run(KEYS[i], np.float32(i)) for i in range(10)]
    return {name: np.stack([result[name] for result in runs]) for name in runs[0]}


@pytest.mark.parametrize("budget", [None, 1])
@pytest.mark.parametrize("parallel", ["vmap", "map", "devices", "auto", Placement("devices", 2)])
def test_modes_and_chunks_agree(alone, parallel, budget):
    """A budget of one byte makes chunks of one run, on as few devices."""
    if isinstance(parallel, Placement) and jax.device_count() < parallel.devices_per_run:
        pytest.skip("needs two devices")  # `make check-device` on one accelerator
    results = sweep.sweep(run, KEYS, RATES, parallel=parallel, budget=budget)
    np.testing.assert_array_equal(results["noise"], alone["noise"])
    np.testing.assert_array_equal(results["scaled"], alone["scaled"])


def test_without_jit_runs_see_values():
    seen = []

    def run(key, scale):
        seen.append(float(scale))
        return scale * jax.random.uniform(key)

    with jax.disable_jit():
        result = sweep.sweep(run, sweep.seed_keys([0, 1]), jnp.array([1.0, 2.0]))
        program = sweep.compile_within_memory(lambda x: x + 1, Placement("vmap"), jnp.arange(2.0))
    assert result.shape == (2,)
    assert seen == [1.0, 2.0]
    assert program.size == 2


def test_donated_runs_are_overwritten():
    placement = Placement("devices")
    runs = (KEYS[:5], RATES[:5])
    program, size = sweep.compile_within_memory(
        lambda one: one[1] + 1, placement, runs, donate=True
    )
    placed = placement.place_runs(runs)
    assert size == 5
    assert program(placed).tolist() == [1, 2, 3, 4, 5]
    assert placed[1].is_deleted()


def test_fastest_prefers_what_it_measured():
    """A batched search costs the slowest row each step; a loop over rows stops early."""

    def countdown(n):
        return jax.lax.while_loop(lambda i: i > 0, lambda i: i - 1, n)

    choice = sweep.fastest(countdown, jnp.array([200_000, 0]), min_seconds=0)
    assert choice.seconds.keys() == {placement.mode for placement in available()}
    assert choice.seconds[choice.placement.mode] == min(choice.seconds.values())


def test_a_trial_ends_where_compiling_takes_longer_than_the_work():
    choice = sweep.fastest(lambda x: x + 1, jnp.arange(3.0), calls=1, min_seconds=0)
    assert choice == (available()[0], {})


@pytest.mark.parametrize(("long", "calls"), [(0.5, 8), (0, 2)], ids=["short", "long"])
def test_long_work_is_timed_once(long, calls, monkeypatch):
    timed, seconds = [], sweep._seconds
    monkeypatch.setattr(sweep, "LONG_CALL", long)
    monkeypatch.setattr(sweep, "_seconds", lambda *of: timed.append(of) or seconds(*of))
    modes = [Placement("map"), Placement("vmap")]
    choice = sweep.fastest(jnp.sin, jnp.arange(3.0), placements=modes, min_seconds=0)
    assert choice.seconds.keys() == {"map", "vmap"}
    assert len(timed) == calls


def test_fastest_measures_nothing_where_there_is_no_choice():
    one_run = sweep.fastest(abs, jnp.ones(1))
    one_placement = sweep.fastest(abs, jnp.ones(3), placements=[Placement("map")])
    assert one_run == (available()[0], {})
    assert one_placement == (Placement("map"), {})


def test_fastest_leaves_out_what_does_not_fit(monkeypatch):
    monkeypatch.setattr(sweep, "memory_budget", lambda: 1)
    assert sweep.fastest(abs, jnp.ones(3)) == (Placement("map"), {})


def outer(key, _):
    x = jax.random.normal(key, (300,))
    return jnp.linalg.norm(jnp.outer(x, x) @ jnp.outer(x, x))


def test_a_sweep_is_chunked_to_its_budget():
    """Scratch memory grows with the number of runs in one program under vmap."""
    keys, vmap = sweep.seed_keys(range(6)), Placement("vmap")
    needs = {}
    for number in (1, 3, 6):
        program, size = sweep.compile_within_memory(
            lambda one: outer(*one), vmap, (keys[:number], None), budget=2**40
        )
        assert size == number
        needs[number] = sweep.memory_need(program)
    assert needs[1] < needs[3] < needs[6]
    _, size = sweep.compile_within_memory(
        lambda one: outer(*one), vmap, (keys, None), budget=needs[3]
    )
    assert size == 3
    at_once = sweep.sweep(outer, keys, parallel="vmap")
    in_chunks = sweep.sweep(outer, keys, parallel="vmap", budget=needs[3])
    np.testing.assert_allclose(in_chunks, at_once, rtol=1e-5)
    assert isinstance(in_chunks, np.ndarray)


def test_the_results_of_a_chunk_leave_the_device_before_the_next(monkeypatch):
    steps = []

    def noted(name):
        function = getattr(sweep, name)
        monkeypatch.setattr(sweep, name, lambda *given: (steps.append(name), function(*given))[1])

    noted("take_runs")
    noted("to_host")
    sweep.sweep(lambda key, _: jnp.ones(3), KEYS[:3], parallel="map", budget=1)
    assert steps == ["take_runs", "to_host"] * 3


def test_the_budget_is_memory_of_this_machine():
    assert 2**20 < sweep.memory_budget() < 2**50


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: sweep.sweep(run, k[:0]), r"`keys` must be a vector of at least one key"),
        (lambda k: sweep.sweep(run, k, jnp.ones(3)), r"one entry for each of the 2 keys.*\(3,\)"),
        (lambda k: sweep.sweep(run, k, jnp.ones(2), parallel="map", budget=0), r"`budget` must be"),
        (lambda k: sweep.fastest(abs, k, placements=[]), r"`placements` must hold at least one"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(sweep.seed_keys([0, 1]))


@pytest.mark.parametrize(
    ("keys", "got"), [([0, 1], "list"), (np.arange(2), "int64"), (jax.random.PRNGKey(0), "uint32")]
)
def test_seeds_are_no_keys(keys, got):
    with (
        no_shape_checks(),
        pytest.raises(TypeError, match=f"must be random keys, got {got}"),
    ):
        sweep.sweep(run, keys)


def test_seeds_do_not_depend_on_their_companions_under_another_generator():
    def draw(key, _):
        return jax.random.uniform(key)

    expected = sweep.sweep(draw, sweep.seed_keys([0, 1]), parallel="map")
    with jax.default_prng_impl("rbg"):
        alone = [sweep.sweep(draw, sweep.seed_keys([seed]), parallel="vmap")[0] for seed in (0, 1)]
        foreign = jax.random.split(jax.random.key(0), 2)
        for parallel in ("vmap", "auto", Placement("devices")):
            with pytest.raises(ValueError, match="`keys` must be independent .* got keys of .*rbg"):
                sweep.sweep(draw, foreign, parallel=parallel)
        sweep.sweep(draw, foreign, parallel="map")
    assert alone == expected.tolist()


def test_a_trial_keeps_to_the_budget(monkeypatch):
    budgets = []
    compile_within = sweep.compile_within_memory

    def watched(*arguments, budget=None, **options):
        budgets.append(budget)
        return compile_within(*arguments, budget=budget, **options)

    monkeypatch.setattr(sweep, "compile_within_memory", watched)
    sweep.sweep(outer, sweep.seed_keys([0, 1]), parallel="auto", budget=2**40)
    assert len(budgets) > 2
    assert {*budgets} == {2**40}
