import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax import sweep


def run(key, rate):
    return {"noise": jax.random.normal(key, (3,)), "scaled": rate * 2}


@pytest.mark.parametrize("parallel", ["vmap", "map", "auto"])
def test_each_run_is_the_run_alone(parallel):
    keys = sweep.seed_keys([3, 1, 4])
    rates = jnp.array([0.1, 0.2, 0.3])
    together = sweep.sweep(run, keys, rates, parallel=parallel)
    for i, seed in enumerate([3, 1, 4]):
        alone = run(jax.random.key(seed), rates[i])
        np.testing.assert_array_equal(together["noise"][i], alone["noise"])
        np.testing.assert_allclose(together["scaled"][i], alone["scaled"])


def test_fastest_prefers_what_it_measured():
    """A batched search costs the slowest row each step; a loop over rows stops early."""

    def countdown(n):
        return jax.lax.while_loop(lambda i: i > 0, lambda i: i - 1, n)

    choice = sweep.fastest(countdown, jnp.array([200_000, 0]))
    assert choice.seconds.keys() == {"vmap", "map"}
    assert choice.seconds[choice.way] == min(choice.seconds.values())


def test_shared_arrays_are_not_swept():
    add = sweep.spread(lambda one, shared: one + shared.sum(), "map")
    np.testing.assert_array_equal(add(jnp.arange(3.0), jnp.ones(4)), [4, 5, 6])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: sweep.sweep(run, k, parallel="pmap"), r"`parallel` must be one of auto, map"),
        (lambda k: sweep.sweep(run, k[:0]), r"`keys` must be a vector of at least one key"),
        (lambda k: sweep.sweep(run, k, jnp.ones(3)), r"one entry for each of the 2 keys.*\(3,\)"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(sweep.seed_keys([0, 1]))
