"""The least that a network's training or scoring can cost: its matrix products and Adam's update.

Nothing is learned here. Every product has the shape that the mathematics needs; all element-wise
work, reductions, random numbers and data movement are left out. What a real program takes beyond
this floor is what could still be saved.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import optax

Program = Callable[[Any], Any]


@dataclass(frozen=True)
class Shapes:
    """What decides the size of the products.

    Attributes:
      features, label_features: of the image and of the label's appended code.
      hidden: width of each layer.
      classes: number of labels.
      candidates: labels that training compares for each sample.
      scored: labels that the layers above the first must score to choose these candidates; 0: none.
      end_to_end: backprop, whose image enters without a label and whose gradient crosses layers.
    """

    features: int
    label_features: int
    hidden: Sequence[int]
    classes: int
    candidates: int
    scored: int = 0
    end_to_end: bool = False

    def flops(self, batch: int) -> int:
        """Of one update's products, a multiplication and an addition each."""
        widths = [self.features, *self.hidden]
        if self.end_to_end:
            widths.append(self.classes)
        total = 0
        for i, (below, units) in enumerate(itertools.pairwise(widths)):
            rows = batch if i == 0 or self.end_to_end else batch * self.candidates
            # Forward and weight gradient; end to end also the gradient of the layer's input. Where
            # all labels are scored, the candidates' activity is among theirs.
            forward = batch * self.scored if i and self.scored else rows
            backward = 2 if self.end_to_end and i else 1
            total += 2 * (forward + backward * rows) * below * units
            if not (self.end_to_end or i):
                total += 2 * 2 * self.classes * self.label_features * units
        return total


def _normal(seed: int, *shape: int) -> jax.Array:
    return 0.03 * jax.random.normal(jax.random.key(seed), shape)


def training(shapes: Shapes, batch: int, num_steps: int) -> tuple[Program, Any]:
    """A scan over updates, and the argument to call it with."""
    widths = [shapes.features, *shapes.hidden]
    if shapes.end_to_end:
        widths.append(shapes.classes)
    weights: dict[str, jax.Array] = {
        str(i): _normal(i, below, units)
        for i, (below, units) in enumerate(itertools.pairwise(widths))
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
        # Of all labels scored, the candidates alone are learned from.
        rows = {n: len(h[n]) if n in ("0", "label") else batch * shapes.candidates for n in h}
        # The other scores are needed too: XLA would not compute them.
        whole = {name: jax.lax.optimization_barrier(value) for name, value in h.items()}
        return {n: x[n][: rows[n]].T @ whole[n][: rows[n]] for n in h}

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
    """All images against all labels, a chunk at a time, and the argument to call it with."""
    chunk = min(chunk, images)
    num_chunks = -(-images // chunk)
    widths = [shapes.features, *shapes.hidden]
    if shapes.end_to_end:
        widths.append(shapes.classes)
    rows = [
        chunk * (1 if i == 0 or shapes.end_to_end else shapes.classes)
        for i in range(len(widths) - 1)
    ]
    weights = [_normal(i, *pair) for i, pair in enumerate(itertools.pairwise(widths))]
    inputs = [_normal(100 + i, *pair) for i, pair in enumerate(zip(rows, widths, strict=False))]
    labels = _normal(200, shapes.classes, shapes.label_features)
    label_weights = _normal(201, shapes.label_features, shapes.hidden[0])

    def run(start: Any) -> Any:
        weights, inputs, labels, label_weights = start

        def products(weights: list[jax.Array]) -> list[jax.Array]:
            return [x @ w for x, w in zip(inputs, weights, strict=True)]

        def one(_: jax.Array, state: Any) -> Any:
            weights, before = state
            # One number of each changes, in place: else one product would serve all chunks.
            changed = [w.at[0, 0].add(0.1 * p[0, 0]) for w, p in zip(weights, before, strict=True)]
            return changed, products(changed)

        last = jax.lax.fori_loop(1, num_chunks, one, (weights, products(weights)))
        return last, labels @ label_weights

    return run, (weights, inputs, labels, label_weights)
