"""The parts that a recipe builds."""

import pytest

from experiments.config.recipe import Recipe


def test_a_label_code_overwrites_no_features_of_a_table():
    corner = Recipe(overlay="corner")
    with pytest.raises(ValueError, match="`overlay` must leave a table's features as they are"):
        corner.network("sffa", (12,), 3)
    assert corner.network("sffa", (4, 3), 3).num_classes == 3
