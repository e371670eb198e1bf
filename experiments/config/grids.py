"""The grids of settings that the ablation, robustness and symmetry experiments run."""

from typing import Any

START = "start"
"""The ablation's first setting."""

STEPS: dict[str, tuple[str, ...]] = {
    "epoch chosen without the test set": ("selection",),
    "pixels scaled by the set's own statistics": ("scaling",),
    "learning rate": ("learning_rate",),
    "batch size": ("batch_size",),
    "initializer": ("initializer",),
    "activation": ("activation",),
    "learning rate's decay": ("lr_schedule",),
    "no activity term": ("activity_rate",),
    "no clipping": ("clip",),
    "no winners": ("winners", "ffa_winners", "pass_winners_only"),
    "label code": ("overlay", "class_units", "wave", "overlay_density"),
    "input skip": ("input_skip",),
    "normalization": ("normalize",),
    "what layers add up": ("score",),
    "update order": ("update_order",),
    "logit scale, eps and threshold": (
        *("logit_scale", "eps", "measure"),
        *("ffa_threshold", "ffa_logit_scale", "ffa_measure"),
    ),
    "all wrong labels": ("negatives",),
    "softmax over the labels": ("loss",),
    "label smoothing": ("label_smoothing",),
    "first layer not scored": ("first_scored",),
    "averaged places": ("places",),
    "fast polarities": ("polarity_rate",),
    "batch or group normalization": ("normalization",),
    "dropout": ("dropout",),
    "averaged weights": ("weight_average",),
    "precision": ("precision",),
    "augmentation": ("shift", "edges", "flip", "cutout"),
    "input dropout": ("input_dropout",),
    "adversarial images": ("adversarial",),
    "layers": ("hidden", "channels", "kernel", "stride", "padding", "pool", "pooled"),
}
"""The ablation's changes in order, each with the fields of the recipe that it sets."""

WITHOUT = "without: "
"""Prefix of the ablation's settings that undo one change."""

OWN_AXES: dict[str, dict[str, tuple[float, ...]]] = {
    "ffa": {"ffa_threshold": (0.1, 0.3, 1.0), "ffa_logit_scale": (7.0, 20.0, 60.0)},
    "sffa": {"logit_scale": (2.0, 6.0, 18.0), "eps": (0.01, 0.1, 1.0)},
}
"""Robustness: fields of one algorithm and their values, around the tuned one."""

PUBLISHED: dict[str, Any] = {
    "logit_scale": 1.0,
    "eps": 1e-9,
    "ffa_threshold": 2.0,
    "ffa_logit_scale": 1.0,
}
"""Symmetry: the logits as published; all other fields are the preset's."""

GRADIENT_SETTINGS: dict[str, dict[str, Any]] = {
    **{f"τ = {value:g}": {"logit_scale": value} for value in (1.0, 3.0, 6.0, 12.0)},
    **{f"ε = {value:g}": {"eps": value} for value in (1e-9, 1e-3, 1.0, 100.0)},
}
"""Symmetry: the settings at which the size of SFFA's gradient is measured, each with the one field
of the recipe that it changes."""
