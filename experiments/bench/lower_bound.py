"""A lower bound on the time of training or scoring: the matrix products and Adam's update alone.

These programs learn nothing. Every product has the shape that the algorithm needs; element-wise
work, reductions, random numbers and data movement are excluded. The time beyond this bound is the
most that an implementation could save.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

Program = Callable[[Any], Any]


@dataclass(frozen=True)
class Shapes:
    """The sizes that determine the matrix products.

    Attributes:
      features, label_features: size of an image, and of the appended code of a label.
      hidden: width of each layer.
      classes: number of labels.
      candidates: number of labels that training compares for each sample.
      scored: number of labels that are scored to choose these candidates; 0: none.
      end_to_end: backprop; images enter without a label, and gradients cross layers.
    """

    features: int
    label_features: int
    hidden: Sequence[int]
    classes: int
    candidates: int
    scored: int = 0
    end_to_end: bool = False

    @property
    def products(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each layer's matrix, those of the readout included."""
        widths = [self.features, *self.hidden, *[self.classes] * self.end_to_end]
        return list(itertools.pairwise(widths))


def _normal(seed: int, *shape: int) -> jax.Array:
    drawn = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return jnp.asarray(np.float32(0.03) * drawn)


def training(shapes: Shapes, batch: int, num_steps: int) -> tuple[Program, Any]:
    """Returns a scan over updates, and its argument."""
    weights: dict[str, jax.Array] = {
        str(i): _normal(i, *sizes) for i, sizes in enumerate(shapes.products)
    }
    inputs = {"0": _normal(100, batch, shapes.features)}
    if not shapes.end_to_end:
        weights["label"] = _normal(101, shapes.label_features, shapes.hidden[0])
        inputs["label"] = _normal(102, shapes.classes, shapes.label_features)
        for i, below in enumerate(shapes.hidden[:-1], 1):
            inputs[str(i)] = _normal(100 + i, batch * (shapes.scored or shapes.candidates), below)
    optimizer = optax.adam(1e-3)

    def layer_by_layer(weights: dict[str, jax.Array], x: dict[str, jax.Array]) -> Any:
        h = {name: x[name] @ weight for name, weight in weights.items()}
        # Of all scored labels, only the candidates have a gradient.
        rows = {n: len(h[n]) if n in ("0", "label") else batch * shapes.candidates for n in h}
        # Without the barrier XLA would not compute the other scores.
        scores = {name: jax.lax.optimization_barrier(value) for name, value in h.items()}
        return {n: x[n][: rows[n]].T @ scores[n][: rows[n]] for n in h}

    def end_to_end(weights: dict[str, jax.Array], x: dict[str, jax.Array]) -> Any:
        h = [x["0"]]
        for i in range(len(weights)):
            h.append(h[-1] @ weights[str(i)])
        gradient, gradients = h[-1], {}
        for i in reversed(range(len(weights))):
            gradients[str(i)] = h[i].T @ gradient
            gradient = gradient @ weights[str(i)].T if i else gradient
        return gradients

    products = end_to_end if shapes.end_to_end else layer_by_layer

    def run(start: Any) -> Any:
        weights, opt_state, x = start

        def step(state: Any, _: None) -> tuple[Any, Any]:
            weights, opt_state = state
            gradients = products(weights, x)
            updates, opt_state = optimizer.update(gradients, opt_state, weights)
            return (optax.apply_updates(weights, updates), opt_state), None

        return jax.lax.scan(step, (weights, opt_state), None, length=num_steps)

    return run, (weights, optimizer.init(weights), inputs)


def scoring(shapes: Shapes, images: int, chunk: int) -> tuple[Program, Any]:
    """Returns a loop that scores all images against all labels in chunks, and its argument."""
    chunk = min(chunk, images)
    num_chunks = -(-images // chunk)
    weights = [_normal(i, *sizes) for i, sizes in enumerate(shapes.products)]
    inputs = [
        _normal(100 + i, chunk * (1 if i == 0 or shapes.end_to_end else shapes.classes), below)
        for i, (below, _) in enumerate(shapes.products)
    ]
    labels = _normal(200, shapes.classes, shapes.label_features)
    label_weights = _normal(201, shapes.label_features, shapes.hidden[0])

    def run(start: Any) -> Any:
        weights, inputs, labels, label_weights = start

        def products(weights: list[jax.Array]) -> list[jax.Array]:
            return [x @ w for x, w in zip(inputs, weights, strict=True)]

        def chunk_products(_: jax.Array, state: Any) -> Any:
            weights, before = state
            # Change one number of each weight, so that XLA cannot reuse the products of a chunk.
            changed = [w.at[0, 0].add(0.1 * p[0, 0]) for w, p in zip(weights, before, strict=True)]
            return changed, products(changed)

        last = jax.lax.fori_loop(1, num_chunks, chunk_products, (weights, products(weights)))
        return last, labels @ label_weights

    return run, (weights, inputs, labels, label_weights)
