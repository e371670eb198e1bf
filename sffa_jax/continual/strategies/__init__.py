"""Strategies against forgetting, one file each. A new one is a function of a `Problem`, and a line
here."""

from collections.abc import Callable

from sffa_jax.continual.strategies.agem import agem
from sffa_jax.continual.strategies.class_groups_gradient import owned_gradient
from sffa_jax.continual.strategies.class_subspaces import owned
from sffa_jax.continual.strategies.derpp import derpp
from sffa_jax.continual.strategies.ewc import ewc
from sffa_jax.continual.strategies.gdumb import gdumb
from sffa_jax.continual.strategies.gem import gem
from sffa_jax.continual.strategies.joint import joint
from sffa_jax.continual.strategies.lwf import lwf
from sffa_jax.continual.strategies.mas import mas
from sffa_jax.continual.strategies.ncm import ncm
from sffa_jax.continual.strategies.none import none
from sffa_jax.continual.strategies.replay import replay
from sffa_jax.continual.strategies.si import si
from sffa_jax.continual.strategies.slda import slda
from sffa_jax.continual.strategies.usage_gating import protect
from sffa_jax.continual.strategy import Strategy

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    "none": none,
    "ewc": ewc,
    "si": si,
    "mas": mas,
    "lwf": lwf,
    "gem": gem,
    "agem": agem,
    "replay": replay,
    "derpp": derpp,
    "gdumb": gdumb,
    "joint": joint,
}
"""Every strategy by name: a function of a `Problem` and its own options."""

WITHOUT_OVERWRITING: dict[str, Callable[..., Strategy]] = {
    "owned": owned,
    "owned_gradient": owned_gradient,
    "ncm": ncm,
    "slda": slda,
    "protect": protect,
}
"""Strategies by what units do, which need to see them: what has been learned is not trained again,
or the less the more it is used."""
