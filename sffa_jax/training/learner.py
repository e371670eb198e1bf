"""The interface between an algorithm and every training loop, sweep and experiment."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array

State = Any
"""A pytree of arrays: parameters and optimizer states."""


class Learner(NamedTuple):
    """A classifier that learns from batches, as three pure functions.

    Attributes:
      init: (key, x [batch, *input]) -> state, for inputs of that shape.
      step: (state, key, x [batch, *input], labels [batch]) -> (state, losses [layers]): one
        update; losses in nats, averaged over the batch, from before the update.
      scores: (state, x [batch, *input]) -> [layers, batch, classes]: contribution of each layer
        to the score of each label. A network trained end to end counts as one layer.
      num_classes: number of labels.
      first_scored: index of the first layer whose score counts in the prediction.
      build: (optimizer=...) -> this learner with another optimizer, described in saved files. None:
        a saved state can be loaded only by passing the learner to `saved.load`.
    """

    init: Callable[[Array, Array], State]
    step: Callable[[State, Array, Array, Array], tuple[State, Array]]
    scores: Callable[[State, Array], Array]
    num_classes: int
    first_scored: int = 0
    build: Callable[..., "Learner"] | None = None
