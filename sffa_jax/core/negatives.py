"""Negatives: the wrong labels that an update contrasts with the true label.

A choice is a function (key, labels [batch], number of classes, scores) -> candidates [batch,
candidates], the true label first; None stands for all classes, in class order. `scores` is a
function without arguments that returns the label scores [batch, classes]; it is called only if they
are needed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from sffa_jax.checks import check_integer, reject

Scores = Callable[[], Float[Array, "batch classes"]]
Negatives = Callable[[Key[Array, ""], Int[Array, " batch"], int, Scores], Array | None]


def uniform(
    key: Key[Array, ""],
    labels: Int[Array, " batch"],
    num_classes: int | Int[Array, ""],
    scores: Scores,
) -> Int[Array, "batch 2"]:
    """One wrong label per sample, all with the same probability.

    Raises:
      ValueError: for fewer than 2 classes; a traced number is not checked.

    Reference: Hinton 2022, arXiv:2212.13345, section 3.3.

    >>> uniform(jax.random.key(0), jnp.array([0, 1]), 2, lambda: None)
    Array([[0, 1],
           [1, 0]], dtype=int32)
    """
    del scores
    if not isinstance(num_classes, jax.core.Tracer):
        check_integer("uniform", "num_classes", num_classes, 2)
    # A scaled uniform number: `randint` computes two remainders per draw, which is slow under vmap.
    u = jax.random.uniform(key, labels.shape)
    shift = 1 + jnp.minimum((u * (num_classes - 1)).astype(jnp.int32), num_classes - 2)
    labels = labels.astype(jnp.int32)  # int8 would overflow
    return jnp.stack([labels, (labels + shift) % num_classes], axis=-1)


def hard(
    key: Key[Array, ""], labels: Int[Array, " batch"], num_classes: int, scores: Scores
) -> Int[Array, "batch 2"]:
    """One wrong label per sample, drawn with probability softmax(scores of the wrong labels).

    Raises:
      ValueError: for fewer than 2 classes.

    Reference: Hinton 2022, arXiv:2212.13345, section 3.3 ("hard" negative labels).

    >>> scores = jnp.array([[0.0, 99.0, 0.0]])
    >>> hard(jax.random.key(0), jnp.array([0]), 3, lambda: scores)
    Array([[0, 1]], dtype=int32)
    """
    check_integer("hard", "num_classes", num_classes, 2)
    wrong = jnp.arange(num_classes)[None] != labels[:, None]
    drawn = jax.random.categorical(key, jnp.where(wrong, scores(), -jnp.inf))
    return jnp.stack([labels.astype(jnp.int32), drawn.astype(jnp.int32)], axis=-1)


def every(
    key: Key[Array, ""], labels: Int[Array, " batch"], num_classes: int, scores: Scores
) -> None:
    """All wrong labels of every sample. In a linear first layer they cost no extra product."""
    del key, labels, num_classes, scores


NEGATIVES: dict[str, Negatives] = {"uniform": uniform, "hard": hard, "all": every}
"""Choices by name."""


def check_candidates(where: str, candidates: Array | None, num_samples: int) -> None:
    """Raises ValueError unless the candidates are integers [samples, candidates], or None."""
    if candidates is None:
        return
    whole = jnp.issubdtype(candidates.dtype, jnp.integer)
    if not whole or candidates.ndim != 2 or candidates.shape[0] != num_samples:
        rule = f"return integers of shape ({num_samples}, candidates), the true label first"
        raise reject(where, "negatives", rule, f"{candidates.dtype} of shape {candidates.shape}")


def try_negatives(where: str, negatives: Negatives, num_classes: int) -> None:
    """Raises ValueError if a function returns wrong candidates for some labels.

    An update does not see their values: a label that does not exist, or the true label in place of
    a wrong one, would train the layers on nonsense.
    """
    with jax.ensure_compile_time_eval():  # also inside of a sweep's program
        labels = jnp.arange(2 * num_classes, dtype=jnp.int32) % num_classes
        scores = jnp.zeros((len(labels), num_classes))
        candidates = negatives(jax.random.key(0), labels, num_classes, lambda: scores)
    check_candidates(where, candidates, len(labels))
    if candidates is None or isinstance(candidates, jax.core.Tracer):
        return
    rows = np.asarray(candidates)
    wrong = rows[(rows < 0) | (rows >= num_classes)]
    if wrong.size:
        raise reject(where, "negatives", f"return labels from 0 to {num_classes - 1}", wrong[0])
    is_true = rows == np.asarray(labels)[:, None]
    is_true[:, :1] = ~is_true[:, :1]
    if is_true.any():
        row = int(np.flatnonzero(is_true.any(axis=1))[0])
        rule = "return the true label first, and only there"
        got = f"{rows[row].tolist()} for label {row % num_classes}"
        raise reject(where, "negatives", rule, got)


def targets(
    candidates: Int[Array, "batch candidates"] | None,
    labels: Int[Array, " batch"],
    num_classes: int,
) -> Bool[Array, "batch candidates"]:
    """True where a candidate is the sample's label.

    Raises:
      ValueError: for fewer than 2 classes.
    """
    check_integer("targets", "num_classes", num_classes, 2)
    classes = jnp.arange(num_classes)[None] if candidates is None else candidates
    return classes == labels[:, None]
