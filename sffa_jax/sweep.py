"""Sweeps: any pure function over many seeds and hyperparameters in one program.

On GPUs and TPUs `vmap` fills the chip. On CPUs a batched matrix product is slower than a loop of
plain ones; there a loop on each of several host devices tends to win (`devices`), since small
products leave cores idle. `fastest` measures, `auto` uses what it says.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Key

from sffa_jax.checks import check_choice, check_integer, check_range, reject

PyTree = Any
AXIS = "runs"


def _vmap(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    return lambda swept, *shared: jax.vmap(lambda one: function(one, *shared))(swept)


def _map(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    return lambda swept, *shared: jax.lax.map(lambda one: function(one, *shared), swept)


def _devices(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Each device takes as many runs; together on an accelerator, in a row on a host device."""
    on_device = _map if jax.default_backend() == "cpu" else _vmap

    def many(swept: PyTree, *shared: PyTree) -> PyTree:
        mesh = _mesh(_number(swept))
        runs, everywhere = PartitionSpec(AXIS), PartitionSpec()
        return jax.shard_map(
            on_device(function),
            mesh=mesh,
            in_specs=(runs, *[everywhere] * len(shared)),
            out_specs=runs,
            check_vma=False,
        )(swept, *shared)

    return many


WAYS: dict[str, Callable[[Callable[..., PyTree]], Callable[..., PyTree]]] = {
    "vmap": _vmap,
    "map": _map,
    "devices": _devices,
}


def available() -> tuple[str, ...]:
    """The ways that differ here: `devices` where there is more than one."""
    return tuple(way for way in WAYS if way != "devices" or jax.local_device_count() > 1)


def _number(swept: PyTree) -> int:
    return int(jax.tree.leaves(swept)[0].shape[0])


def _mesh(runs: int) -> Mesh:
    """As many devices as share the runs evenly in the fewest rounds."""
    devices = jax.local_devices()
    rounds = -(-runs // len(devices))
    return Mesh(np.array(devices[: -(-runs // rounds)]), (AXIS,))


def take(swept: PyTree, start: int, size: int) -> PyTree:
    """`size` runs from `start` on; past the end, the last run again."""
    order = np.minimum(np.arange(start, start + size), _number(swept) - 1)
    return jax.tree.map(lambda leaf: leaf[order], swept)


def place(swept: PyTree, way: str) -> PyTree:
    """Makes swept arrays ready for `spread(..., way)`.

    For `devices` that is: the last run repeated until every device has as many, each run's arrays
    on its device. For the other ways nothing needs to be done.
    """
    check_choice("place", "way", way, WAYS)
    if way != "devices":
        return swept
    runs = _number(swept)
    mesh = _mesh(runs)
    # Copied one by one: a run that is repeated must not share memory, or it cannot be donated.
    padded = take(swept, 0, -(-runs // mesh.size) * mesh.size)
    return jax.device_put(padded, NamedSharding(mesh, PartitionSpec(AXIS)))


def spread(function: Callable[..., PyTree], way: str) -> Callable[..., PyTree]:
    """Lifts `function(one, *shared)` to `function(many, *shared)` over the leading axis.

    Args:
      function: pure; `one` is any pytree, `shared` are arrays that all runs have in common.
      way: "vmap" (all at once), "map" (one after another, in one program) or "devices" (shared out
        over this process's devices; the runs come from `place`).

    Raises:
      ValueError: for another way.
    """
    check_choice("spread", "way", way, WAYS)
    return WAYS[way](function)


def memory_budget() -> int:
    """Bytes that a program may take on each device: nine tenths of what the device gives out; on a
    CPU, of the memory that is free now, shared by the host devices."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(0.9 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))
    return int(0.9 * psutil.virtual_memory().available / jax.local_device_count())


def memory_need(program: jax.stages.Compiled) -> int:
    """Bytes that a compiled program takes on a device: arguments, results, and scratch.

    Returns 0 where the backend does not say.
    """
    found = program.memory_analysis()
    if found is None:
        return 0
    sizes = (
        found.argument_size_in_bytes,
        found.output_size_in_bytes,
        found.temp_size_in_bytes,
        -found.alias_size_in_bytes,
    )
    return int(sum(sizes))


class Fitted(NamedTuple):
    """Attributes: program: compiled for `size` runs at once; size: all of them, or what fits."""

    program: jax.stages.Compiled
    size: int


def fit_memory(
    function: Callable[..., PyTree],
    way: str,
    swept: PyTree,
    *shared: PyTree,
    budget: int | None = None,
    donate: bool = False,
) -> Fitted:
    """Compiles `function` over as many of the runs as fit the memory: all, a half, a quarter, ...

    Args:
      function, way, shared: as in `spread`.
      swept: all runs, not placed; of them only shapes count, so that `jax.eval_shape` serves.
      budget: bytes on each device; None: `memory_budget()`. A single run is not held against it.
      donate: whether the program may write its results over `swept`.

    Raises:
      ValueError: for a budget that is not positive.
    """
    budget = memory_budget() if budget is None else budget
    check_range("fit_memory", "budget", budget, above=0)
    size = _number(swept)
    lifted = jax.jit(spread(function, way), donate_argnums=(0,) if donate else ())
    while True:
        program = lifted.lower(placed_shapes(swept, size, way), *shared).compile()
        if size == 1 or memory_need(program) <= budget:
            return Fitted(program, size)
        size = -(-size // 2)


def placed_shapes(swept: PyTree, size: int, way: str) -> PyTree:
    """Shapes and shardings of `place(take(swept, 0, size), way)`, without making it."""
    sharding = None
    if way == "devices":
        mesh = _mesh(size)
        size, sharding = -(-size // mesh.size) * mesh.size, NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype, sharding=sharding),
        swept,
    )


class Choice(NamedTuple):
    """Attributes: way: the fastest; seconds: of each way that was tried, best of its repeats."""

    way: str
    seconds: dict[str, float]


def fastest(
    function: Callable[..., PyTree],
    swept: PyTree,
    *shared: PyTree,
    ways: Sequence[str] | None = None,
    repeats: int = 3,
    at_least: float = 0.5,
) -> Choice:
    """Times each way of running `function` over `swept`, interleaved, and picks the fastest.

    Compilation is not counted. The results are dropped: pass a short piece of the real work. A way
    that does not fit the memory is left out; "map", which needs least, is taken if none does.

    Args:
      function, swept, shared: as in `spread`.
      ways: to try; None: all that are `available`.
      repeats: of each way, at least.
      at_least: seconds that the trial goes on for, however short the work is: short runs vary more.

    Raises:
      ValueError: for no repeats.
    """
    check_integer("fastest", "repeats", repeats, 1)
    ways = available() if ways is None else ways
    if len(ways) == 1 or _number(swept) == 1:
        return Choice(ways[0], {})
    programs = {}
    for way in ways:
        program, size = fit_memory(function, way, swept, *shared)
        if size == _number(swept):
            programs[way] = (program, place(swept, way))
    if len(programs) < 2:
        return Choice(next(iter(programs), "map"), {})
    seconds = dict.fromkeys(programs, float("inf"))
    began = time.perf_counter()
    done = -1  # the first round touches fresh memory
    while done < repeats or time.perf_counter() - began < at_least:
        for way, (program, placed) in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(placed, *shared))
            if done >= 0:
                seconds[way] = min(seconds[way], time.perf_counter() - start)
        done += 1
    return Choice(min(seconds, key=lambda way: seconds[way]), seconds)


def _joined(chunks: Sequence[Array]) -> Array | np.ndarray:
    """Results of several chunks, on the host: what did not fit at once need not fit as results."""
    if jnp.issubdtype(chunks[0].dtype, jax.dtypes.prng_key):
        return jnp.concatenate(chunks)
    return np.concatenate([np.asarray(chunk) for chunk in chunks])


def sweep(
    run: Callable[[Key[Array, ""], PyTree], PyTree],
    keys: Key[Array, " runs"],
    hyperparameters: PyTree = None,
    *,
    parallel: str = "auto",
    trial: Callable[[Key[Array, ""], PyTree], PyTree] | None = None,
    budget: int | None = None,
) -> PyTree:
    """Runs `run(key, hyperparameters)` for every key, in one compiled program.

    Args:
      run: any pure function; its result is any pytree of arrays.
      keys: one a run, from `jax.random.split` or `seed_keys`.
      hyperparameters: a pytree whose arrays have a leading axis of runs, or None.
      parallel: "vmap", "map", "devices" or "auto": the fastest of them, measured on `trial`.
      trial: a short run with the work profile of `run`; `run` itself where it is left out, which
        then costs several whole runs.
      budget: bytes of memory on each device; None: what `memory_budget` finds. Runs that do not fit
        together go in equal chunks through one program, and their results to the host.

    Returns:
      The results of `run`, stacked along a leading axis of runs. The ways differ in rounding
      only (batched and plain products add up in different orders).

    Raises:
      ValueError: for an unknown way, no keys, hyperparameters of another leading size, or a budget
        that is not positive.
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
    program, size = fit_memory(lambda one: run(*one), parallel, swept, budget=budget)
    runs = len(keys)
    chunks = [program(place(take(swept, i, size), parallel)) for i in range(0, runs, size)]
    if len(chunks) == 1:
        return jax.tree.map(lambda leaf: leaf[:runs], chunks[0])
    chunks = [jax.tree.map(lambda leaf: leaf[:size], chunk) for chunk in chunks]
    return jax.tree.map(lambda *leaves: _joined(leaves)[:runs], *chunks)


def seed_keys(seeds: Sequence[int]) -> Key[Array, " runs"]:
    """One key a seed; a seed's key does not depend on which other seeds there are."""
    return jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
