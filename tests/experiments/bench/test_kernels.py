"""Methods that are compared by their time compute the same."""

import jax
import numpy as np
import pytest
from unchecked import no_shape_checks

from experiments.bench import convolution, kernels


# The updates change the weights by 3e-4 and more.
@pytest.mark.parametrize(
    ("module", "measure", "sizes", "tolerance"),
    [
        (kernels, "measure_winners", [3, 3], 0),
        (kernels, "measure_sparse", [3, 2], 1e-3),
        (kernels, "measure_labels", [2], 1e-7),
        (convolution, "measure_gradient", [2], 1e-7),
    ],
)
def test_methods_of_an_operation_agree(module, measure, sizes, tolerance, monkeypatch):
    results = []

    def compiled(function, *arguments):
        results.append(jax.jit(function)(*arguments))
        return lambda: None, 0.0

    monkeypatch.setattr(module, "compiled", compiled)
    monkeypatch.setattr(kernels, "LABEL_WIDTHS", (8,))
    one = {"6x6, 1 to 2 channels, kernel 3": (6, 1, 2, 3, 1)}
    monkeypatch.setattr(convolution, "CONVOLUTIONS", one)
    with no_shape_checks():
        getattr(module, measure)(1)
    assert len(results) == sum(sizes)
    for size in sizes:
        first, *others = (results.pop(0) for _ in range(size))
        for other in others:
            for x, y in zip(jax.tree.leaves(first), jax.tree.leaves(other), strict=True):
                np.testing.assert_allclose(y, x, rtol=0, atol=tolerance)
