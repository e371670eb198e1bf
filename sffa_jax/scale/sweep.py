"""Sweeps: any pure function over many seeds and hyperparameters in one program.

On GPUs and TPUs `vmap` fills the chip. On CPUs a batched matrix product is slower than a loop of
plain ones; there a loop on each of several host devices tends to win (`devices`), since small
products leave cores idle. `fastest` measures, `auto` uses what it says.

`devices` goes over all devices of all processes, see `mesh`; each takes whole runs, or a group of
`devices_per_run` shares the batches of one.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax.sharding import PartitionSpec
from jaxtyping import Array, Key

from sffa_jax.checks import check_choice, check_integer, check_integers, check_range, reject
from sffa_jax.scale.mesh import SEED, everywhere, make_mesh, over_runs, put
from sffa_jax.scale.processes import fetch, highest

PyTree = Any


def _vmap(function: Callable[..., PyTree], _: int) -> Callable[..., PyTree]:
    return lambda swept, *shared: jax.vmap(lambda one: function(one, *shared))(swept)


def _map(function: Callable[..., PyTree], _: int) -> Callable[..., PyTree]:
    return lambda swept, *shared: jax.lax.map(lambda one: function(one, *shared), swept)


def _devices(function: Callable[..., PyTree], devices_per_run: int) -> Callable[..., PyTree]:
    """Each device takes as many runs; together on an accelerator, in a row on a host device."""
    on_device = (_map if jax.default_backend() == "cpu" else _vmap)(function, 1)

    def many(swept: PyTree, *shared: PyTree) -> PyTree:
        runs = PartitionSpec(SEED)
        return jax.shard_map(
            on_device,
            mesh=make_mesh(_number(swept), devices_per_run),
            in_specs=(runs, *[PartitionSpec()] * len(shared)),
            out_specs=runs,
            # Within a run, XLA shares the work out by what `mesh.split_batch` asks for.
            axis_names={SEED},
            check_vma=False,
        )(swept, *shared)

    return many


WAYS: dict[str, Callable[[Callable[..., PyTree], int], Callable[..., PyTree]]] = {
    "vmap": _vmap,
    "map": _map,
    "devices": _devices,
}


def available() -> tuple[str, ...]:
    """The ways that differ here: `devices` where there is more than one, and no other where there
    are several processes."""
    if jax.process_count() > 1:
        return ("devices",)
    return tuple(way for way in WAYS if way != "devices" or jax.device_count() > 1)


def check_way(where: str, way: str, devices_per_run: int = 1) -> None:
    """Raises ValueError unless runs can be spread in this way."""
    check_choice(where, "way", way, WAYS)
    check_integer(where, "devices_per_run", devices_per_run, 1)
    if way != "devices" and devices_per_run > 1:
        raise reject(
            where, "way", f"be devices, for {devices_per_run} devices to share a run", repr(way)
        )


def _number(swept: PyTree) -> int:
    return int(jax.tree.leaves(swept)[0].shape[0])


def take(swept: PyTree, start: int, size: int) -> PyTree:
    """`size` runs from `start` on; past the end, the last run again."""
    order = np.minimum(np.arange(start, start + size), _number(swept) - 1)
    return jax.tree.map(lambda leaf: leaf[order], swept)


def place(swept: PyTree, way: str, devices_per_run: int = 1) -> PyTree:
    """Makes swept arrays ready for `spread(..., way)`.

    For `devices` that is: the last run repeated until every device has as many, each run's arrays
    on its device. For the other ways nothing needs to be done. Of several processes each must hold
    the same arrays.
    """
    check_way("place", way, devices_per_run)
    if way != "devices":
        return swept
    runs = _number(swept)
    mesh = make_mesh(runs, devices_per_run)
    # Copied one by one: a run that is repeated must not share memory, or it cannot be donated.
    padded = take(swept, 0, _padded(runs, way, devices_per_run))
    return put(padded, over_runs(mesh))


def share(shared: PyTree, way: str, runs: int, devices_per_run: int = 1) -> PyTree:
    """Makes arrays that all of so many runs have in common ready for `spread(..., way)`."""
    check_way("share", way, devices_per_run)
    check_integer("share", "runs", runs, 1)
    if way != "devices":
        return shared
    mesh = make_mesh(runs, devices_per_run)
    return shared if mesh.size == 1 else put(shared, everywhere(mesh))


def _padded(runs: int, way: str, devices_per_run: int) -> int:
    """Runs that are worked on so that every device has as many."""
    if way != "devices":
        return runs
    groups = make_mesh(runs, devices_per_run).shape[SEED]
    return -(-runs // groups) * groups


def spread(
    function: Callable[..., PyTree], way: str, devices_per_run: int = 1
) -> Callable[..., PyTree]:
    """Lifts `function(one, *shared)` to `function(many, *shared)` over the leading axis.

    Args:
      function: pure; `one` is any pytree, `shared` are arrays that all runs have in common.
      way: "vmap" (all at once), "map" (one after another, in one program) or "devices" (shared out
        over the devices; the runs come from `place`, what they have in common from `share`).
      devices_per_run: that share the batches of one run, see `mesh.split_batch`.

    Raises:
      ValueError: for another way, or several devices a run in a way other than `devices`.
    """
    check_way("spread", way, devices_per_run)
    return WAYS[way](function, devices_per_run)


def memory_budget() -> int:
    """Bytes that a program may take on each device: nine tenths of what the device gives out; on a
    CPU, of the memory that is free now, shared by the host devices. The least of all processes."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        free = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    else:
        free = psutil.virtual_memory().available / jax.local_device_count()
    (least,) = highest(-int(0.9 * free))
    return -least


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
    devices_per_run: int = 1,
) -> Fitted:
    """Compiles `function` over as many of the runs as fit the memory: all, a half, a quarter, ...

    Args:
      function, way, shared, devices_per_run: as in `spread`.
      swept: all runs, not placed; of them only shapes count, so that `jax.eval_shape` serves.
      budget: bytes on each device; None: `memory_budget()`. A single run is not held against it.
      donate: whether the program may write its results over `swept`.

    Raises:
      ValueError: for a budget that is not positive.
    """
    budget = memory_budget() if budget is None else budget
    check_range("fit_memory", "budget", budget, above=0)
    size = _number(swept)
    lifted = jax.jit(spread(function, way, devices_per_run), donate_argnums=(0,) if donate else ())
    while True:
        runs = placed_shapes(swept, size, way, devices_per_run)
        common = shared_shapes(shared, way, size, devices_per_run)
        program = lifted.lower(runs, *common).compile()
        if size == 1 or memory_need(program) <= budget:
            return Fitted(program, size)
        size = -(-size // 2)


def placed_shapes(swept: PyTree, size: int, way: str, devices_per_run: int = 1) -> PyTree:
    """Shapes and shardings of `place(take(swept, 0, size), way)`, without making it."""
    sharding = over_runs(make_mesh(size, devices_per_run)) if way == "devices" else None
    padded = _padded(size, way, devices_per_run)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((padded, *leaf.shape[1:]), leaf.dtype, sharding=sharding),
        swept,
    )


def shared_shapes(shared: PyTree, way: str, runs: int, devices_per_run: int = 1) -> PyTree:
    """Shapes and shardings of `share(shared, way, runs)`, without making it."""
    sharding = everywhere(make_mesh(runs, devices_per_run)) if way == "devices" else None
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), leaf.dtype, sharding=sharding), shared
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
      ValueError: for no repeats, an endless trial, or another way.
    """
    check_integer("fastest", "repeats", repeats, 1)
    check_range("fastest", "at_least", at_least, at_least=0)
    ways = available() if ways is None else ways
    if not ways:
        raise reject("fastest", "ways", "name at least one way", "none")
    for way in ways:
        check_way("fastest", way)
    if len(ways) == 1 or _number(swept) == 1:
        return Choice(ways[0], {})
    programs = {}
    for way in ways:
        program, size = fit_memory(function, way, swept, *shared)
        if size == _number(swept):
            programs[way] = (program, place(swept, way), share(shared, way, size))
    if len(programs) < 2:
        return Choice(next(iter(programs), "map"), {})
    seconds = dict.fromkeys(programs, float("inf"))
    began = time.perf_counter()
    done = -1  # the first round touches fresh memory
    while done < repeats or time.perf_counter() - began < at_least:
        for way, (program, placed, common) in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(placed, *common))
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
    if jax.process_count() > 1:
        chunks = list(map(fetch, chunks))
    if len(chunks) == 1:
        return jax.tree.map(lambda leaf: leaf[:runs], chunks[0])
    chunks = [jax.tree.map(lambda leaf: leaf[:size], chunk) for chunk in chunks]
    return jax.tree.map(lambda *leaves: _joined(leaves)[:runs], *chunks)


def seed_keys(seeds: Sequence[int]) -> Key[Array, " runs"]:
    """One key a seed; a seed's key does not depend on which other seeds there are.

    Raises:
      TypeError, ValueError: unless all seeds are whole numbers from 0 to 2^31 - 1.
    """
    seeds = check_integers("seed_keys", "seeds", seeds, 0)
    if not seeds:
        raise reject("seed_keys", "seeds", "name at least one seed", seeds)
    return jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
