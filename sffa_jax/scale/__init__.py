"""Many runs, devices and processes; a program for one run needs none of it.

Reading order: `mesh` (devices), `processes`, `limits` (cores and memory), `placement` (runs on
devices) and `sweep`; `checkpoints` and `resumable` (runs that can be interrupted); `streaming`
(images on disk); `pipeline` (layers on devices).
"""

from typing import TYPE_CHECKING

from sffa_jax._lazy import lazy

if TYPE_CHECKING:
    from sffa_jax.scale import (
        checkpoints,
        limits,
        mesh,
        pipeline,
        placement,
        processes,
        resumable,
        streaming,
        sweep,
    )

__all__ = [
    "checkpoints",
    "limits",
    "mesh",
    "pipeline",
    "placement",
    "processes",
    "resumable",
    "streaming",
    "sweep",
]

__getattr__, __dir__ = lazy(__name__, dict.fromkeys(__all__, ()))
