import re
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax import checks


def test_message_names_function_argument_rule_value_and_way_out():
    with pytest.raises(ValueError, match=r"^f: `n` must be at least 1, got 0\. Add one\.$"):
        checks.check_integer("f", "n", 0, 1, "Add one.")


@pytest.mark.parametrize("value", [2.5, True, "3"])
def test_not_a_whole_number(value):
    with pytest.raises(TypeError, match=r"f: `n` must be a whole number, got "):
        checks.check_integer("f", "n", value, 1)


@pytest.mark.parametrize("value", [0.0, 1.5, float("nan"), float("-inf")])
def test_out_of_range(value):
    with pytest.raises(ValueError, match=r"`x` must be a number above 0 and at most 1, got"):
        checks.check_range("f", "x", value, above=0, at_most=1)


def test_a_traced_value_passes():
    def run(x):
        checks.check_range("f", "x", x, above=5)
        return x

    assert jax.jit(run)(1.0) == 1.0


@pytest.mark.parametrize("value", [2, np.int64(2), np.array(2), jnp.int32(2)])
def test_numbers_of_any_library_are_accepted(value):
    checks.check_integer("f", "n", value, 2)
    for number in (value, value * 0.5, np.float32(1), jnp.bfloat16(1), Fraction(1)):
        checks.check_range("f", "x", number, above=0, at_most=2)


@pytest.mark.parametrize(
    ("name", "advice"),
    [("sofmax", "Did you mean 'softmax'?"), ("mse", "A function is accepted, too.")],
)
def test_a_misspelled_name_of_a_function_is_suggested(name, advice):
    message = re.escape(f"f: `loss` must be one of bce, softmax, got {name!r}. {advice}")
    with pytest.raises(ValueError, match=f"^{message}$"):
        checks.choose("f", "loss", name, {"softmax": abs, "bce": abs})
