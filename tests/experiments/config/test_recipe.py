"""The parts that a recipe builds."""

import pytest

from experiments.config.recipe import Recipe


def test_a_label_code_overwrites_no_features_of_a_table():
    corner = Recipe(overlay="corner")
    with pytest.raises(ValueError, match="`overlay` must leave a table's features as they are"):
        corner.network("sffa", (12,), 3)
    assert corner.network("sffa", (4, 3), 3).num_classes == 3


def test_layers_that_train_one_after_another_divide_the_updates():
    greedy = Recipe(hidden=(8, 8, 8, 8), update_order="greedy", epochs=3, batch_size=10)
    assert greedy.steps("sffa", 109) == 8  # 30 updates for four layers, rounded up
    assert greedy.steps("bp", 109) == 30
