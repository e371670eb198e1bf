import re

import jax
import numpy as np
import pytest

from experiments.bench import lower_bound


def flops(shapes, batch):
    """Multiplications and additions in the matrix products of one update."""
    total = 0
    for i, (below, units) in enumerate(shapes.products):
        rows = batch if i == 0 or shapes.end_to_end else batch * shapes.candidates
        # Forward and weight gradient; end to end also the gradient of the layer's input. If all
        # labels are scored, that includes the candidates.
        forward = batch * shapes.scored if i and shapes.scored else rows
        backward = 2 if shapes.end_to_end and i else 1
        total += 2 * (forward + backward * rows) * below * units
    if not shapes.end_to_end:
        total += 2 * 2 * shapes.classes * shapes.label_features * shapes.hidden[0]
    return total


@pytest.mark.parametrize(
    "shapes",
    [
        lower_bound.Shapes(40, 8, (24,), 10, candidates=2),
        lower_bound.Shapes(40, 8, (24, 32, 16), 10, candidates=2),
        lower_bound.Shapes(40, 8, (24, 32, 16), 10, candidates=2, scored=10),
        lower_bound.Shapes(40, 8, (24, 32), 10, candidates=1, end_to_end=True),
    ],
)
def test_the_bound_does_all_products_in_every_step(shapes):
    """XLA counts a loop's body once: nothing was taken out of the loop or left away."""
    function, argument = lower_bound.training(shapes, 16, num_steps=3)
    lowered = jax.jit(function).lower(argument)
    counted = lowered.compile().cost_analysis()["flops"]
    products = flops(shapes, 16)
    # Adam adds about ten operations a parameter.
    assert products <= counted <= 1.6 * products + 4000
    before = argument[0]
    (after, _), _ = function(argument)
    changed = [np.any(np.asarray(after[name]) != np.asarray(before[name])) for name in before]
    assert all(changed)


def test_the_bound_of_scoring_does_all_products_for_every_chunk():
    shapes = lower_bound.Shapes(40, 8, (24, 32), 10, candidates=2)
    function, argument = lower_bound.scoring(shapes, images=60, chunk=20)
    text = jax.jit(function).lower(argument).compile().as_text()
    # Once before the loop and once in it, and the labels' own.
    assert len(re.findall(r"= f32\[\S+ dot\(", text)) == 2 * 2 + 1
    weights, inputs, _, _ = argument
    (changed, products), _ = function(argument)
    assert not np.array_equal(changed[0], weights[0])
    np.testing.assert_allclose(products[1], inputs[1] @ changed[1], rtol=1e-5, atol=1e-6)
