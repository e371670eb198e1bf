"""Sweeps: any pure function over many seeds and hyperparameters in one program.

On GPUs and TPUs `vmap` fills the chip. On CPUs a batched matrix product is slower than a loop of
plain ones, and `lax.map` tends to win. `fastest` measures, `auto` uses what it says.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from sffa_jax.checks import check_choice, check_integer, reject

PyTree = Any


def _vmap(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    return lambda swept, *shared: jax.vmap(lambda one: function(one, *shared))(swept)


def _map(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    return lambda swept, *shared: jax.lax.map(lambda one: function(one, *shared), swept)


WAYS: dict[str, Callable[[Callable[..., PyTree]], Callable[..., PyTree]]] = {
    "vmap": _vmap,
    "map": _map,
}


def spread(function: Callable[..., PyTree], way: str) -> Callable[..., PyTree]:
    """Lifts `function(one, *shared)` to `function(many, *shared)` over the leading axis.

    Args:
      function: pure; `one` is any pytree, `shared` are arrays that all runs have in common.
      way: "vmap" (all at once) or "map" (one after another, in one program).

    Raises:
      ValueError: for another way.
    """
    check_choice("spread", "way", way, WAYS)
    return WAYS[way](function)


class Choice(NamedTuple):
    """Attributes: way: the fastest; seconds: of each way that was tried, best of its repeats."""

    way: str
    seconds: dict[str, float]


def fastest(
    function: Callable[..., PyTree],
    swept: PyTree,
    *shared: PyTree,
    ways: Sequence[str] = tuple(WAYS),
    repeats: int = 2,
) -> Choice:
    """Times each way of running `function` over `swept`, interleaved, and picks the fastest.

    Compilation is not counted. The results are dropped: pass a short piece of the real work.
    """
    check_integer("fastest", "repeats", repeats, 1)
    if len(ways) == 1 or jax.tree.leaves(swept)[0].shape[0] == 1:
        return Choice(ways[-1], {})
    programs = {way: jax.jit(spread(function, way)).lower(swept, *shared).compile() for way in ways}
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats + 1):  # the first call of each also touches fresh memory
        for way, program in programs.items():
            began = time.perf_counter()
            jax.block_until_ready(program(swept, *shared))
            seconds[way] = min(seconds[way], time.perf_counter() - began)
    return Choice(min(seconds, key=lambda way: seconds[way]), seconds)


def sweep(
    run: Callable[[Key[Array, ""], PyTree], PyTree],
    keys: Key[Array, " runs"],
    hyperparameters: PyTree = None,
    *,
    parallel: str = "auto",
    trial: Callable[[Key[Array, ""], PyTree], PyTree] | None = None,
) -> PyTree:
    """Runs `run(key, hyperparameters)` for every key, in one compiled program.

    Args:
      run: any pure function; its result is any pytree of arrays.
      keys: one a run, from `jax.random.split` or `seed_keys`.
      hyperparameters: a pytree whose arrays have a leading axis of runs, or None.
      parallel: "vmap", "map" or "auto": the faster of the two, measured on `trial`.
      trial: a short run with the work profile of `run`; `run` itself where it is left out, which
        then costs several whole runs.

    Returns:
      The results of `run`, stacked along a leading axis of runs. The ways differ in rounding
      only (batched and plain products add up in different orders).

    Raises:
      ValueError: for an unknown way, no keys, or hyperparameters of another leading size.
    """
    check_choice("sweep", "parallel", parallel, ["auto", *WAYS])
    if keys.ndim != 1 or not keys.shape[0]:
        raise reject("sweep", "keys", "be a vector of at least one key", f"shape {keys.shape}")
    for leaf in jax.tree.leaves(hyperparameters):
        if jnp.ndim(leaf) < 1 or len(leaf) != len(keys):
            raise reject(
                "sweep",
                "hyperparameters",
                f"have one entry for each of the {len(keys)} keys",
                f"shape {jnp.shape(leaf)}",
                "Repeat the values along the first axis.",
            )
    swept = (keys, hyperparameters)
    if parallel == "auto":
        parallel = fastest(lambda one: (trial or run)(*one), swept).way
    return jax.jit(spread(lambda one: run(*one), parallel))(swept)


def seed_keys(seeds: Sequence[int]) -> Key[Array, " runs"]:
    """One key a seed; a seed's key does not depend on which other seeds there are."""
    return jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
