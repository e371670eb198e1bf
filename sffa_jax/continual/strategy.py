"""A continual-learning strategy: pure functions around the plain update, similar to an optax
optimizer.

    strategy = strategies.ewc(strength=1e4)

Every function (hook) receives the `Problem` as its first argument, so that one strategy serves any
network, scenario and data set. `state` is the memory of the strategy: a pytree of arrays of
fixed shape, from `init`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sffa_jax.checks import check_function
from sffa_jax.continual.model import Modules
from sffa_jax.continual.problem import Batch, Problem

Tree = TypeVar("Tree")

State = Any
"""The memory of a strategy: a pytree of arrays of fixed shape."""


def _same_state(_problem: Problem, state: State, *_: Any) -> State:
    return state


class Strategy(NamedTuple):
    """A strategy as a set of hooks; the default of each hook changes nothing.

    `key` is a new random key, `task` the number of the current task, from 0.

    Attributes:
      init: (problem, modules) -> state.
      before_task: (problem, state, key, modules, task) -> state.
      batch: (problem, state, key, batch) -> the batch to learn from; the new samples come first.
      observe: (problem, state, modules, batch) -> state, before each update: for strategies that
        learn online, without knowledge of tasks.
      penalty: (problem, state, key, modules, batch) -> scalar that is added to the loss, a sum over
        modules in which each term depends on one module's parameters.
      loss: (problem, state, key, modules, batch) -> (scalar, its terms [losses]); replaces
        `Problem.loss`.
      gradients: (problem, state, key, modules, gradients of the loss, batch) -> gradients to use.
      updates: (problem, state, updates of the optimizer, batch) -> updates to apply. A parameter
        with an update of 0 is unchanged bit for bit; a gradient of 0 does not guarantee that,
        because optimizers have momentum.
      after_step: (problem, state, modules before, modules after, gradients of the loss) -> state.
      after_task: (problem, state, key, modules, task) -> state.
      scores: (problem, state, modules, batch) -> [modules, batch, candidates], finite: each
        module's contribution to a label's score at test time; replaces the model's scores.
      restart: whether every task starts from new weights.
      keeps_all_images: whether it needs the images of all earlier tasks.

    Example: weight decay as a strategy.

    >>> import jax
    >>> def shrink(strength=1e-4):
    ...     def penalty(problem, state, key, modules, batch):
    ...         return strength * sum((leaf**2).sum() for leaf in jax.tree.leaves(modules))
    ...     return Strategy(penalty=penalty)
    >>> shrink(strength=0.5).restart
    False
    """

    init: Callable[[Problem, Modules], State] = lambda _problem, _modules: ()
    before_task: Callable[[Problem, State, Array, Modules, Array], State] = _same_state
    batch: Callable[[Problem, State, Array, Batch], Batch] = lambda _problem, _state, _, new: new
    observe: Callable[[Problem, State, Modules, Batch], State] = _same_state
    penalty: Callable[[Problem, State, Array, Modules, Batch], Array] | None = None
    loss: Callable[[Problem, State, Array, Modules, Batch], tuple[Array, Array]] | None = None
    gradients: Callable[[Problem, State, Array, Modules, Modules, Batch], Modules] = (
        lambda _problem, _state, _key, _modules, gradients, _batch: gradients
    )
    updates: Callable[[Problem, State, Modules, Batch], Modules] = (
        lambda _problem, _state, updates, _batch: updates
    )
    after_step: Callable[[Problem, State, Modules, Modules, Modules], State] = _same_state
    after_task: Callable[[Problem, State, Array, Modules, Array], State] = _same_state
    scores: Callable[[Problem, State, Modules, Batch], Array] | None = None
    restart: bool = False
    keeps_all_images: bool = False


_TAKES = {
    "init": "problem, modules",
    "before_task": "problem, state, key, modules, task",
    "batch": "problem, state, key, batch",
    "observe": "problem, state, modules, batch",
    "penalty": "problem, state, key, modules, batch",
    "loss": "problem, state, key, modules, batch",
    "gradients": "problem, state, key, modules, gradients, batch",
    "updates": "problem, state, updates, batch",
    "after_step": "problem, state, before, after, gradients",
    "after_task": "problem, state, key, modules, task",
    "scores": "problem, state, modules, batch",
}


def check_hooks(where: str, strategy: Strategy) -> None:
    """Raises TypeError for a hook that is no function of its arguments."""
    for name, takes in _TAKES.items():
        hook = getattr(strategy, name)
        if hook is not None:
            check_function(where, f"strategy.{name}", hook, takes)


def no_loss(
    problem: Problem, state: State, key: Array, modules: Modules, batch: Batch
) -> tuple[Array, Array]:
    """The hook `loss` of a strategy that trains no parameter."""
    del problem, state, key, batch
    return jnp.zeros(()), jnp.zeros(len(modules))


def zeros_like(tree: Tree) -> Tree:
    """Zeros in the shape of arrays, or of shapes from `jax.eval_shape`."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), tree)
