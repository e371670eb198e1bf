"""Several processes that run one program: JAX's own runtime, and what they must agree on.

Every process runs the same commands in the same order; arrays span their devices. What only one of
them can know (what is on disk, what the clock says) process 0 tells the others. In a process alone
all of this does nothing.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from sffa_jax.checks import check_integer, reject

PyTree = Any
Result = TypeVar("Result")

AUTO = "auto"


def connect(
    coordinator: str | None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins the processes of a job. To be called before anything else of JAX; None does nothing.

    Args:
      coordinator: HOST:PORT of process 0, or "auto": Slurm, Open MPI, Kubernetes or a TPU pod says
        how many processes there are, which is this one and where the first is.
      num_processes, process_id: by hand; process_id counts from 0.

    Raises:
      ValueError: for an address without a port, a number that is missing or out of range, or "auto"
        where nothing says what the job is.
    """
    if coordinator is None:
        for name, value in (("num_processes", num_processes), ("process_id", process_id)):
            if value is not None:
                raise reject(
                    "connect", name, "come with a coordinator", value, "Give --coordinator."
                )
        return
    if coordinator == AUTO:
        try:
            jax.distributed.initialize()
        except (ValueError, RuntimeError) as error:
            raise reject(
                "connect",
                "coordinator",
                "be HOST:PORT where no cluster's environment is found",
                repr(coordinator),
                f"({error})",
            ) from None
        return
    host, _, port = coordinator.rpartition(":") if isinstance(coordinator, str) else ("", "", "")
    if not host or not port.isdigit():
        raise reject("connect", "coordinator", "be HOST:PORT or auto", repr(coordinator))
    for name, value in (("num_processes", num_processes), ("process_id", process_id)):
        if value is None:
            raise reject("connect", name, "be given with a coordinator's address", value)
    check_integer("connect", "num_processes", num_processes, 1)
    check_integer("connect", "process_id", process_id, 0)
    assert num_processes is not None
    assert process_id is not None
    if process_id >= num_processes:
        raise reject("connect", "process_id", f"be below {num_processes} processes", process_id)
    jax.distributed.initialize(coordinator, num_processes, process_id)


def leads() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def agree(make: Callable[[], Result]) -> Result:
    """What process 0 makes, in all processes. None goes on before it is made.

    Args:
      make: is called in process 0 alone. Its result must be JSON.

    Raises:
      ValueError, TypeError, OSError: that `make` raised, in every process: none is left waiting.
    """
    if jax.process_count() == 1:
        return make()
    failed: Exception | None = None
    said: dict[str, Any] = {}
    if leads():
        try:
            said = {"made": make()}
        except (ValueError, TypeError, OSError) as error:
            failed, said = error, {"failed": str(error)}
    text = np.frombuffer(json.dumps(said).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    padded = np.zeros(size, np.uint8)
    padded[: len(text) if leads() else 0] = text if leads() else 0
    heard = json.loads(bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded), np.uint8)))
    if failed is not None:
        raise failed
    if "failed" in heard:
        raise ValueError(heard["failed"])
    made: Result = heard["made"]
    return made


def first_alone(make: Callable[[], Result]) -> Result:
    """What each process makes for itself, process 0 before all others: so that what it leaves on
    disk (a downloaded data set) is there for them."""
    if jax.process_count() == 1:
        return make()
    kept: list[Result] = []
    agree(lambda: kept.append(make()))
    return kept[0] if kept else make()


def highest(*values: int) -> tuple[int, ...]:
    """The highest of each value over all processes."""
    if jax.process_count() == 1:
        return values
    # Two words a number: without 64-bit arrays, int64 would be cut to 32.
    words = np.array([divmod(value, 1 << 30) for value in values], np.int32)
    everyone = np.asarray(multihost_utils.process_allgather(words)).astype(np.int64)
    return tuple(int(v) for v in np.max(everyone[..., 0] * (1 << 30) + everyone[..., 1], axis=0))


def fetch(tree: PyTree) -> PyTree:
    """Arrays that may lie on devices of several processes, whole and on this host; random keys stay
    arrays of JAX."""

    def whole(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                impl = jax.random.key_impl(leaf)
                data = multihost_utils.process_allgather(jax.random.key_data(leaf), tiled=True)
                return jax.random.wrap_key_data(jnp.asarray(data), impl=impl)
            return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return leaf
        return np.asarray(leaf)

    return jax.tree.map(whole, tree)
