"""Sweeps: a pure function over many seeds and hyperparameters, in one program.

On GPUs and TPUs, `vmap` is usually fastest. On a CPU, a batched matrix product is slower than a
loop of plain products, and one loop per host device is usually fastest, because small products
leave cores idle. `fastest` measures it.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from sffa_jax.checks import (
    check_choice,
    check_integers,
    check_range,
    reject,
    reject_type,
)
from sffa_jax.scale.limits import Memory, host_memory
from sffa_jax.scale.placement import MODES, Placement, available, num_runs, take_runs
from sffa_jax.scale.processes import all_reduce_max, to_host

PyTree = Any

LONG_CALL = 2.0
"""Seconds of a call that is timed once; the memory that a first call allocates takes less time."""


def memory_budget() -> int:
    """Bytes that a program may use on each device.

    Nine tenths of the device's free memory; on a CPU, of the free memory within the limits of the
    container and the shell, divided by the number of host devices. The minimum over all processes.
    """
    (negated,) = all_reduce_max(-max(1, int(0.9 * _device_memory().free)))
    return -negated


def memory_limit() -> int:
    """Bytes of memory that the first local device has; on a CPU, of the host within its limits."""
    return _device_memory().total


def _device_memory() -> Memory:
    """The memory of one local device."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        total = stats["bytes_limit"]
        return Memory(total - stats.get("bytes_in_use", 0), total)
    host, devices = host_memory(), jax.local_device_count()
    # A run may use all of the host's memory if the other devices are idle.
    return Memory(host.free // devices, host.total)


def memory_need(program: jax.stages.Compiled) -> int:
    """Bytes that a compiled program uses on a device: arguments, results and scratch.

    Returns 0 if the backend does not report it.
    """
    analysis = program.memory_analysis()
    if analysis is None:
        return 0
    sizes = (
        analysis.argument_size_in_bytes,
        analysis.output_size_in_bytes,
        analysis.temp_size_in_bytes,
        -analysis.alias_size_in_bytes,
    )
    return int(sum(sizes))


class CompiledSweep(NamedTuple):
    """Attributes: program: compiled for `size` runs; size: all runs, or as many as fit."""

    program: jax.stages.Compiled
    size: int


def compile_within_memory(
    function: Callable[..., PyTree],
    placement: Placement,
    runs: PyTree,
    *shared: PyTree,
    budget: int | None = None,
    donate: bool = False,
) -> CompiledSweep:
    """Compiles `function` for as many of the runs as fit in memory: all, half, a quarter, ...

    Args:
      function: pure, `function(run, *shared)`.
      placement: assignment of the runs to devices.
      runs: all runs, not placed. Only shapes matter, so results of `jax.eval_shape` suffice.
      shared: arrays that all runs use.
      budget: bytes per device; None: `memory_budget()`. A single run is compiled in any case.
      donate: whether the program may reuse the memory of `runs` for its results.

    Raises:
      ValueError: for a budget that is not positive.
      MemoryError: if a single run needs more memory than the device has.

    >>> sweep = compile_within_memory(lambda x: x + 1, Placement("vmap"), jnp.arange(4.0))
    >>> sweep.size
    4
    >>> sweep.program(jnp.arange(4.0)).tolist()
    [1.0, 2.0, 3.0, 4.0]
    """
    budget = memory_budget() if budget is None else budget
    check_range("compile_within_memory", "budget", budget, above=0)
    size = num_runs(runs)
    lifted = jax.jit(placement.lift(function), donate_argnums=(0,) if donate else ())
    while True:
        run_shapes = placement.run_shapes(runs, size)
        with jax.disable_jit(False):  # `lower` needs it
            program = lifted.lower(run_shapes, *placement.shared_shapes(shared, size)).compile()
        need, total = memory_need(program), _device_memory().total
        if size == 1 and need > total:
            gib = f"{need / 2**30:.1f} GiB and the device has {total / 2**30:.1f} GiB"
            raise MemoryError(f"a single run needs {gib}")
        if size == 1 or need <= budget:
            return CompiledSweep(program, size)
        size = -(-size // 2)


class Choice(NamedTuple):
    """Attributes: placement: the fastest; seconds: by mode, the best repeat of each one tried."""

    placement: Placement
    seconds: dict[str, float]


def fastest(
    function: Callable[..., PyTree],
    runs: PyTree,
    *shared: PyTree,
    placements: Sequence[Placement] | None = None,
    min_seconds: float = 0.5,
    calls: float | None = None,
    budget: int | None = None,
) -> Choice:
    """Times `function` over `runs` under each placement, interleaved, and returns the fastest.

    Compilation does not count. Each placement runs at least four times, the first as a warm-up; if
    all take two seconds or more, once. The results are dropped, so pass a short piece of the real
    work. Placements that do not fit in memory are skipped; if none fits, "map" is returned, which
    needs the least memory. The trial ends early if the work takes less time than it takes to
    compile one more placement.

    Args:
      function, runs, shared, budget: as in `compile_within_memory`.
      placements: candidates; None: `available()`.
      min_seconds: minimum duration of the trial; short timings vary more.
      calls: length of the real work, in calls of `function`; None: endless.

    Raises:
      ValueError: for an endless trial, a budget that is not positive, or no placements.

    >>> fastest(lambda x: x + 1, jnp.arange(4.0), placements=[Placement("map")])
    Choice(placement=Placement(mode='map', devices_per_run=1), seconds={})
    """
    check_range("fastest", "min_seconds", min_seconds, at_least=0)
    if calls is not None:
        check_range("fastest", "calls", calls, above=0)
    if budget is not None:
        check_range("fastest", "budget", budget, above=0)
    placements = available() if placements is None else placements
    if not placements:
        raise reject("fastest", "placements", "hold at least one placement", "none")
    number = num_runs(runs)
    if len(placements) == 1 or number == 1:
        return Choice(placements[0], {})
    programs = {}
    for placement in placements:
        began = time.perf_counter()
        program, size = compile_within_memory(function, placement, runs, *shared, budget=budget)
        compiling = time.perf_counter() - began
        if size < number:
            continue
        placed = placement.place_runs(runs), *placement.place_shared(shared, number)
        programs[placement] = program, placed
        if calls is not None and calls * _seconds(program, placed) < compiling:
            break
    if len(programs) < 2:
        return Choice(next(iter(programs), Placement("map")), {})
    seconds = {placement: _seconds(*call) for placement, call in programs.items()}
    if min(seconds.values()) < LONG_CALL:  # the first call, which allocated memory, does not count
        began, rounds = time.perf_counter(), 0
        seconds = dict.fromkeys(programs, float("inf"))
        while rounds < 3 or time.perf_counter() - began < min_seconds:
            for placement, (program, placed) in programs.items():
                seconds[placement] = min(seconds[placement], _seconds(program, placed))
            rounds += 1
    best = min(seconds, key=lambda placement: seconds[placement])
    return Choice(best, {placement.mode: value for placement, value in seconds.items()})


def _seconds(program: jax.stages.Compiled, arguments: Sequence[PyTree]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(program(*arguments))
    return time.perf_counter() - start


def sweep(
    run: Callable[[Key[Array, ""], PyTree], PyTree],
    keys: Key[Array, " runs"],
    hyperparameters: PyTree = None,
    *,
    parallel: str | Placement = "auto",
    budget: int | None = None,
) -> PyTree:
    """Computes `run(key, hyperparameters)` for every key, in one compiled program.

    Args:
      run: any pure function; its result is any pytree of arrays.
      keys: one per run, from `jax.random.split` or `seed_keys`.
      hyperparameters: a pytree whose arrays have a leading axis of runs, or None.
      parallel: a placement or its mode; "auto": the fastest mode, measured on `run` itself: all
        runs are computed at least once more in each mode. If this takes long, pass the placement
        that is fastest for a short run:
        `fastest(lambda one: short(*one), (keys, hyperparameters)).placement`.
      budget: bytes of memory per device; None: `memory_budget()`. Runs that do not fit together
        are computed in equal chunks by one program; their results go to the host.

    Returns:
      The results of `run`, stacked along a leading axis of runs. Modes differ only in rounding:
      batched and plain products add up in different orders. Under `jax.disable_jit`, `run` is
      called once per key, without compiling.

    Raises:
      TypeError: for seeds, or the integers of keys, in place of keys.
      ValueError: for an unknown mode, no keys, keys of JAX's generator "rbg" (a run's numbers would
        depend on the other runs), hyperparameters with another leading size, or a budget that is
        not positive.

    >>> def draw(key, scale):
    ...     return scale * jax.random.normal(key, (2,))
    >>> sweep(draw, seed_keys([0, 1, 2]), jnp.array([0.1, 1.0, 10.0]), parallel="vmap").shape
    (3, 2)
    """
    if not isinstance(parallel, Placement):
        check_choice("sweep", "parallel", parallel, ["auto", *MODES])
    got = getattr(keys, "dtype", type(keys).__name__)
    if isinstance(got, str) or not jnp.issubdtype(got, jax.dtypes.prng_key):
        raise reject_type("sweep", "keys", "be random keys", got, "`seed_keys(seeds)` makes them.")
    if keys.ndim != 1 or not keys.shape[0]:
        raise reject("sweep", "keys", "be a vector of at least one key", f"shape {keys.shape}")
    mode = parallel.mode if isinstance(parallel, Placement) else parallel
    if mode != "map" and "rbg" in str(jax.random.key_impl(keys)):
        raise reject(
            "sweep",
            "keys",
            "be independent of each other in a batch",
            f"keys of {jax.random.key_impl(keys)}",
            "Make them with `seed_keys`, or use parallel='map'.",
        )
    for leaf in jax.tree.leaves(hyperparameters):
        if jnp.ndim(leaf) < 1 or len(leaf) != len(keys):
            raise reject(
                "sweep",
                "hyperparameters",
                f"have one entry for each of the {len(keys)} keys",
                f"shape {jnp.shape(leaf)}",
                "Repeat the values along the first axis.",
            )
    runs, number = (keys, hyperparameters), len(keys)
    config: Any = jax.config  # JAX 0.10 declares no types for its values
    if config.jax_disable_jit:  # to debug `run`, which then sees values
        results = [run(*jax.tree.map(lambda x, i=i: x[i], runs)) for i in range(number)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)
    if parallel == "auto":
        placement = fastest(lambda one: run(*one), runs, budget=budget).placement
    else:
        placement = parallel if isinstance(parallel, Placement) else Placement(parallel)
    program, size = compile_within_memory(lambda one: run(*one), placement, runs, budget=budget)

    def compute(start: int) -> PyTree:
        return program(placement.place_runs(take_runs(runs, start, size)))

    if size == number and jax.process_count() == 1:
        return jax.tree.map(lambda leaf: leaf[:number], compute(0))
    # One after another to the host: the results of all chunks may not fit on the device.
    chunks = [to_host(compute(start)) for start in range(0, number, size)]

    def concatenate(*leaves: Any) -> Any:
        library = jnp if isinstance(leaves[0], jax.Array) else np  # random keys stay JAX arrays
        return library.concatenate([leaf[:size] for leaf in leaves])[:number]

    return jax.tree.map(concatenate, *chunks)


def seed_keys(seeds: Sequence[int]) -> Key[Array, " runs"]:
    """One random key per seed; it does not depend on the other seeds.

    The keys are of JAX's default generator, whatever JAX_DEFAULT_PRNG_IMPL says: a batch of runs
    with "rbg" draws other numbers than each of its runs alone.

    Raises:
      TypeError, ValueError: unless all seeds are whole numbers from 0 to 2^31 - 1.

    >>> seed_keys([0, 5]).shape
    (2,)
    """
    seeds = check_integers("seed_keys", "seeds", seeds, 0)
    if not seeds:
        raise reject("seed_keys", "seeds", "contain at least one seed", seeds)
    make_key = partial(jax.random.key, impl="threefry2x32")
    return jax.vmap(make_key)(jnp.asarray(seeds, jnp.uint32))
