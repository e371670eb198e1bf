"""Strategies against forgetting, one file each; each function returns a `Strategy`."""

from sffa_jax.continual.strategies.activity_rehearsal import activity_rehearsal
from sffa_jax.continual.strategies.agem import agem
from sffa_jax.continual.strategies.class_groups import class_groups
from sffa_jax.continual.strategies.class_subspaces import class_subspaces
from sffa_jax.continual.strategies.derpp import derpp
from sffa_jax.continual.strategies.ewc import ewc
from sffa_jax.continual.strategies.gdumb import gdumb
from sffa_jax.continual.strategies.gem import gem
from sffa_jax.continual.strategies.joint import joint
from sffa_jax.continual.strategies.lwf import lwf
from sffa_jax.continual.strategies.mas import mas
from sffa_jax.continual.strategies.ncm import ncm
from sffa_jax.continual.strategies.none import none
from sffa_jax.continual.strategies.qda import qda
from sffa_jax.continual.strategies.replay import replay
from sffa_jax.continual.strategies.si import si
from sffa_jax.continual.strategies.slda import slda
from sffa_jax.continual.strategies.usage_gating import usage_gating

__all__ = [
    "activity_rehearsal",
    "agem",
    "class_groups",
    "class_subspaces",
    "derpp",
    "ewc",
    "gdumb",
    "gem",
    "joint",
    "lwf",
    "mas",
    "ncm",
    "none",
    "qda",
    "replay",
    "si",
    "slda",
    "usage_gating",
]
