"""Presets of the continual-learning experiment: sizes, networks, strengths, and their sources."""

from typing import Any

ALGORITHMS = ("sffa", "ffa", "bp")

LOCAL: dict[str, Any] = {"coupling": "local", "buffer": "equal_tasks", "inputs": "images"}
RELEASED: dict[str, Any] = {"kernel": 7, "stride": 2, "pool": "none", "class_units": "none"}
DENSE: dict[str, Any] = RELEASED | {"channels": (), "overlay": "appended_gaussian"} | LOCAL
PROTOCOL: dict[str, Any] = {"epochs": 2, "batch_size": 512, "memory": 500}
RELEASED_CODE: dict[str, Any] = LOCAL | {"coupling": "released", "buffer": "released"}

PRESETS: dict[str, dict[str, Any]] = {
    # For the embedded digits: 287 images per task.
    "quick": DENSE | {"hidden": (100, 100), "epochs": 10, "batch_size": 32, "memory": 100},
    # The paper's and the released code's.
    "protocol": DENSE | PROTOCOL | {"hidden": (1400, 1400)},
    # All that the released code does in continual learning; see also `RECIPE`.
    "released": DENSE
    | PROTOCOL
    | RELEASED_CODE
    | {"hidden": (1400, 1400), "winners": 15, "overlay": "appended_pattern"},
    # The released code's convolutions, with local losses.
    "convolution": PROTOCOL
    | RELEASED
    | LOCAL
    | {"channels": (64, 128), "hidden": (), "overlay": "image_wave"},
    # The same with all that the released code does.
    "released_convolution": PROTOCOL
    | RELEASED
    | RELEASED_CODE
    | {"channels": (64, 128), "hidden": (), "overlay": "image_wave"},
    # The recipe's `best_convolution`.
    "best_convolution": PROTOCOL
    | LOCAL
    | {"channels": (32, 64, 128), "hidden": (), "overlay": "none", "class_units": "learned"}
    | {"kernel": 3, "stride": 1, "pool": "max"},
    # A small network for photographs. Polarities that change quickly learn from few images.
    "small_convolution": LOCAL
    | {"channels": (16, 32, 64), "hidden": (), "overlay": "none", "class_units": "learned"}
    | {"kernel": 3, "stride": 1, "pool": "max", "epochs": 1, "batch_size": 64, "memory": 500},
    # Layers on label-free local maps, for activity rehearsal.
    "maps": DENSE
    | {"hidden": (1000,), "overlay": "none", "class_units": "learned", "inputs": "components"}
    | {"epochs": 2, "batch_size": 32, "memory": 500},
}

STRENGTHS: dict[str, dict[str, dict[str, float]]] = {
    "quick": {
        "ewc": {"sffa": 1e3, "ffa": 1e3, "bp": 1e5},
        "si": {"sffa": 1e2, "ffa": 1e2, "bp": 1e2},
        "mas": {"sffa": 0.1, "ffa": 1.0, "bp": 1.0},
    },
    # The released code's 1e5, 1000 and 1. Its importance for EWC is the square of a batch's mean
    # gradient, about 1 / 512 of the mean of squares, and its penalty has no factor of 1 / 2.
    "released": {
        "ewc": dict.fromkeys(ALGORITHMS, 2e5 / 512),
        "si": dict.fromkeys(ALGORITHMS, 1e3),
        "mas": dict.fromkeys(ALGORITHMS, 1.0),
    },
}
"""Strengths by preset, strategy and algorithm that differ from `METHODS`, which were chosen on
MNIST. Those of `quick` are the best powers of ten on held-out training images of digits, class
scenario, two seeds."""
STRENGTHS["released_convolution"] = STRENGTHS["released"]

RELEASED_RECIPE: dict[str, Any] = {
    "bias": True,
    "initializer": "torch",
    "overlay_value": 1.0,
    "logit_scale": 1.0,
    "eps": 1e-9,
    "clip": 1e-4,
    "ffa_winners": None,
    "ffa_measure": "sum_square",
    "ffa_threshold": 200.0,
    "ffa_logit_scale": 0.01,  # the logit is 0.01 * sum of squares - 2
}
RECIPE: dict[str, dict[str, Any]] = {
    # The layer above also sees image and label, and the activity as it is.
    "released": RELEASED_RECIPE | {"overlay_density": 0.2, "input_skip": True, "normalize": "none"},
    # The released code divides by a norm of the whole batch; here each image has its own.
    "released_convolution": RELEASED_RECIPE | {"wave": (0.035, 0.35), "normalize": "whole"},
    "small_convolution": {
        "polarity_rate": 8.0,
        "logit_scale": 24.0,
        "loss": "softmax",
        "first_scored": 1,
    },
}
"""Further values of the recipe, by preset."""

ACTIVATION = {("released", "sffa"): "sigmoid"}
"""Activation by preset and algorithm; ReLU for all others."""

OF_LEARNED_UNITS = ("logit_scale", "eps", "ffa_threshold", "ffa_logit_scale", "normalize")
"""Recipe values of `best_convolution` that networks with learned class units use."""

OVERLAY_VALUE = {"class": 5.0, "domain": 1.0, "task": 5.0}
"""Size of the appended label code. With one label per class, a strong code separates the units of
different tasks; with the same labels in all tasks, it only hides the image."""

LOSS = {"sffa": "softmax", "ffa": "bce"}
"""Local loss of each algorithm, chosen on held-out training images."""
