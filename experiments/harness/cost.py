"""What a run costs."""

import jax

from sffa_jax.scale.mesh import RUNS, make_mesh
from sffa_jax.scale.placement import Placement


def flops_per_update(epoch: jax.stages.Compiled, placement: Placement, number: int) -> float | None:
    """Returns XLA's count of floating-point operations of one update of one run.

    XLA counts the body of a loop once: an epoch is one update, plus the order of its images (below
    1 %). Runs in a loop count as one run; batched runs count in full.

    Args:
      epoch: the program of `number` runs.
      placement: of the runs.
    """
    count = (epoch.cost_analysis() or {}).get("flops")
    if not count or count < 0:
        return None
    if placement.mode == "map":
        return float(count)
    if placement.mode == "vmap":
        return float(count) / number
    devices, at_once = placement.devices_per_run, 1
    if jax.default_backend() != "cpu":  # the runs of one device are batched
        at_once = placement.padded(number) // make_mesh(number, devices).shape[RUNS]
    return float(count) * devices / at_once
