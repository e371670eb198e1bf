"""Several processes that run one program on JAX's distributed runtime.

Every process runs the same commands in the same order; arrays span their devices. Values that only
one process can know (the files on disk, the time) are broadcast from process 0, the main process.
With a single process, these functions only call their argument.
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
    """Joins the processes of a job. Call it before any other function of JAX.

    Args:
      coordinator: HOST:PORT of process 0; "auto": read from the environment of Slurm, Open MPI,
        Kubernetes or a TPU pod; None: do nothing.
      num_processes, process_id: required with HOST:PORT; process_id counts from 0.

    Raises:
      ValueError: for an address without a port, a number that is missing or out of range, or "auto"
        without such an environment.
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
                "be HOST:PORT outside a cluster",
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


def is_main_process() -> bool:
    """Whether this is process 0, which writes the files.

    >>> is_main_process()
    True
    """
    return jax.process_index() == 0


def broadcast_from_main(make: Callable[[], Result]) -> Result:
    """Calls `make` on process 0 and returns its result on all processes, which wait for it.

    Args:
      make: returns JSON.

    Raises:
      ValueError, TypeError, OSError: if `make` raised one of them; every process then raises
        (ValueError on the others), so that no process keeps waiting.

    >>> broadcast_from_main(lambda: [1, 2])
    [1, 2]
    """
    if jax.process_count() == 1:
        return make()
    error: Exception | None = None
    message: dict[str, Any] = {}
    if is_main_process():
        try:
            message = {"result": make()}
        except (ValueError, TypeError, OSError) as raised:
            error, message = raised, {"error": str(raised)}
    text = np.frombuffer(json.dumps(message).encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    padded = np.zeros(size, np.uint8)
    if is_main_process():
        padded[:] = text
    received = np.asarray(multihost_utils.broadcast_one_to_all(padded), np.uint8)
    message = json.loads(bytes(received))
    if error is not None:
        raise error
    if "error" in message:
        raise ValueError(message["error"])
    result: Result = message["result"]
    return result


def main_process_first(make: Callable[[], Result]) -> Result:
    """Calls `make` on process 0, then on all others; each process returns its result.

    Use it if `make` writes a file that the other processes read, such as a downloaded data set.
    """
    if jax.process_count() == 1:
        return make()
    results: list[Result] = []
    broadcast_from_main(lambda: results.append(make()))
    return results[0] if results else make()


def all_reduce_max(*values: int) -> tuple[int, ...]:
    """The maximum of each integer over all processes.

    >>> all_reduce_max(3, -1)
    (3, -1)
    """
    if jax.process_count() == 1:
        return values
    # Two words per number: without 64-bit arrays, int64 would be cut to 32 bits.
    words = np.array([divmod(value, 1 << 30) for value in values], np.int32)
    gathered = np.asarray(multihost_utils.process_allgather(words)).astype(np.int64)
    return tuple(int(v) for v in np.max(gathered[..., 0] * (1 << 30) + gathered[..., 1], axis=0))


def to_host(tree: PyTree) -> PyTree:
    """Copies arrays to this host as NumPy arrays; random keys stay JAX arrays.

    Arrays that span several processes are gathered; each process receives the full array.
    """

    def copy(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                impl = jax.random.key_impl(leaf)
                data = multihost_utils.process_allgather(jax.random.key_data(leaf), tiled=True)
                return jax.random.wrap_key_data(jnp.asarray(data), impl=impl)
            return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return leaf
        return np.asarray(leaf)

    return jax.tree.map(copy, tree)
