"""What `config.json` and the lines of `results.jsonl` hold, as patterns that `mismatch` compares.

A pattern is a `Rule`; a `Maybe`; a list or a tuple of one pattern (a list whose items fit it; only
a tuple allows an empty one); or a dict of patterns by key. A key that ends in "?" may be missing;
the key `ANY` stands for all others.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from experiments.config.choices import ALGORITHMS, CONTROLS
from experiments.harness.outcomes import DID_NOT_LEARN, DIVERGED, DONE
from sffa_jax.analysis.unit_turnover import MEASURES, TURNOVER
from sffa_jax.continual.scenarios import SCENARIOS
from sffa_jax.scale.placement import MODES

VERSION = 1
"""Version of the files; `config.json` records it as `schema` (absent: 1)."""

ANY = "*"

Pattern = Any


class Rule(NamedTuple):
    """Attributes: words: the rule, after "must"; holds: whether a value keeps it."""

    words: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # A whole number of any length is exact, so that it may not fit into a float.
    return number and abs(value) < 1e300 and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def one_of(*names: str) -> Rule:
    """Returns the rule that a value is one of these names."""
    return Rule(f"be one of {', '.join(names)}", lambda v: isinstance(v, str) and v in names)


class Maybe(NamedTuple):
    """Null fits, and what fits `pattern`."""

    pattern: Pattern


TEXT = Rule("be text", lambda v: isinstance(v, str))
FLAG = Rule("be true or false", lambda v: isinstance(v, bool))
COUNT = Rule("be a whole number from 0", _is_count)
NUMBER = Rule("be a number", _is_number)
TIME = Rule("be a number from 0", lambda v: _is_number(v) and v >= 0)
POSITIVE = Rule("be a number above 0", lambda v: _is_number(v) and v > 0)
FRACTION = Rule("be a number from 0 to 1", lambda v: _is_number(v) and 0 <= v <= 1)
OBJECT: Pattern = {}
ALGORITHM = one_of(*ALGORITHMS, *CONTROLS)

RUN = {"dataset": TEXT, "algorithm": ALGORITHM, "seed": COUNT}
OUTCOME = RUN | {
    "status": one_of(DONE, DIVERGED, DID_NOT_LEARN),
    "test_accuracy": Maybe(FRACTION),
    "validation_accuracy": Maybe(FRACTION),
    "layer_accuracies": Maybe([Maybe(FRACTION)]),
    "epochs": POSITIVE,
    "train_seconds": TIME,
}
TRAINED = OUTCOME | {
    "cumulated_accuracies?": Maybe([FRACTION]),
    "training_accuracy?": Maybe(FRACTION),
    "updates?": COUNT,
    "flops_per_update?": Maybe(POSITIVE),
    "selected_epoch": COUNT,
    "parallel": TEXT,
}
HISTORY = {
    "validation_accuracy": (Maybe(FRACTION),),
    "validation_layer_accuracies?": ((Maybe(FRACTION),),),
    "loss?": [Maybe(NUMBER)],
}
MATRIX = [[Maybe(FRACTION)]]

PREDICTIONS = {
    "nll?": Maybe(NUMBER),
    "ece?": Maybe(NUMBER),
    "class_accuracies?": [Maybe(FRACTION)],
    "reliability?": [[Maybe(NUMBER)]],
    "confusion?": [[COUNT]],
    "correct?": Rule(
        "be a number, a colon and base64",
        lambda v: isinstance(v, str) and re.fullmatch(r"\d{1,9}:[\w+/]+={0,2}", v) is not None,
    ),
    "worst?": (
        {
            **{"index": COUNT, "label": COUNT, "predicted": COUNT},
            **{"probability": Maybe(NUMBER), "png": Maybe(TEXT)},
        },
    ),
}
"""The fields of `experiments.harness.predictions`."""

ROWS: dict[str, Pattern] = {
    "compare": TRAINED | PREDICTIONS | {"history": HISTORY},
    "latents": TRAINED
    | {
        "history": HISTORY | {name: [[Maybe(NUMBER)]] for name in ("hoyer", "owned_share")},
        "layers?": {"hoyer": [Maybe(NUMBER)], ANY: [Maybe(NUMBER)]},
    },
    "ablation": TRAINED | {"setting": TEXT, "changes": OBJECT},
    "records": TRAINED | {"setting": TEXT, "recipe": OBJECT, "images": COUNT, "tested_on": TEXT},
    "robustness": TRAINED | {"setting": TEXT, "changes": {"hidden": [COUNT]}},
    "symmetry": RUN
    | {"setting": TEXT, "gradient_norms": [[[Maybe(NUMBER)]]], "probe_accuracy": Maybe(FRACTION)},
    "continual": OUTCOME
    | {
        "scenario": one_of(*SCENARIOS),
        "strategy": TEXT,
        "class_order": [COUNT],
        "strength": Maybe(NUMBER),
        "strength_at_edge?": FLAG,
        "learning_rate?": NUMBER,
        "learning_rate_at_edge?": FLAG,
        "accuracy_matrix": MATRIX,
        "layer_matrices": [MATRIX],
        "untrained_accuracies": Maybe([FRACTION]),
        "learning_curve": [Maybe(FRACTION)],
        "average_accuracy": Maybe(FRACTION),
        "forgetting": Maybe(NUMBER),
        "backward_transfer": Maybe(NUMBER),
        "forward_transfer": Maybe(NUMBER),
        "stored_bytes": {"images": COUNT, "statistics": COUNT, "parameters": COUNT},
        "steps": Rule("be a whole number from 1", lambda v: _is_count(v) and v > 0),
        "task_losses": [Maybe(NUMBER)],
        "task_seconds?": [TIME],
        "neurons?": {name: [[Maybe(NUMBER)]] for name in MEASURES}
        | {"turnover": {name: [[Maybe(NUMBER)]] for name in TURNOVER}},
    },
    "tune": {
        **{"algorithm": ALGORITHM, "setting": TEXT, "changes": {ANY: NUMBER}, "seed": COUNT},
        **{"status": one_of(DONE, DIVERGED), "validation_accuracy": Maybe(FRACTION)},
        **{"selected_epoch": COUNT, "epochs": POSITIVE, "train_seconds": TIME, "parallel": TEXT},
    },
    "estimators": {
        **{"dataset": TEXT, "algorithm": TEXT, "setting": TEXT, "seed": COUNT},
        **{"test_accuracy": FRACTION, "fold_accuracies?": [FRACTION]},
        **{"log_loss?": TIME, "fold_log_losses?": [TIME], "train_seconds?": TIME},
        **{"stored?": COUNT, "stored_bytes?": COUNT},
    },
    "benchmark": {
        "group": TEXT,
        "case": TEXT,
        "algorithm": TEXT,
        "hidden": Maybe([COUNT]),
        "winners": Maybe(COUNT),
        "negatives": Maybe(TEXT),
        "parallel": Maybe(TEXT),
        "seconds": Maybe((POSITIVE,)),
        **{f"{name}_ratio": Maybe(NUMBER) for name in ("floor", "torch")},
        **{f"{name}_ratios?": [NUMBER] for name in ("floor", "torch")},
        "peak_mib": Maybe(NUMBER),
        "temporary_mib?": NUMBER,
        "channels?": [COUNT],
    },
}
"""The fields of a run's record, by experiment. Further fields are kept as they are."""

COMMON_OPTIONS = {
    "dataset": TEXT,
    "algorithms": [ALGORITHM],
    "seeds": COUNT,
    "epochs?": POSITIVE,
    "by_algorithm?": {"ffa?": OBJECT, "sffa?": OBJECT, "bp?": OBJECT, "head?": OBJECT},
}
RECIPE_OPTIONS = COMMON_OPTIONS | {"preset": TEXT, "hidden": (COUNT,), "channels?": (COUNT,)}
OPTIONS: dict[str, Pattern] = {
    **dict.fromkeys(("compare", "latents", "symmetry", "tune"), RECIPE_OPTIONS),
    "robustness": RECIPE_OPTIONS | {"failed_below": NUMBER},
    "ablation": COMMON_OPTIONS | {"start": TEXT, "end": TEXT},
    "records": COMMON_OPTIONS | {"only": (TEXT,), "epochs?": Maybe(POSITIVE)},
    "continual": COMMON_OPTIONS | {"scenarios": [one_of(*SCENARIOS)], "strategies": [TEXT]},
    "estimators": {"dataset": TEXT, "algorithms": [TEXT], "seeds": COUNT},
    "benchmark": {},
}
"""The options that reports and the gate read, by experiment."""

CONFIG = {
    "experiment": one_of(*sorted(ROWS)),
    "options": OBJECT,
    "command?": TEXT,
    "data?": {
        "source": TEXT,
        "sha256": OBJECT,
        "class_names?": [TEXT],
        "training_images?": [COUNT],
    },
    "device?": {"platform": TEXT, "kind": TEXT, "count": Maybe(COUNT), "host_cores": Maybe(COUNT)},
    "versions?": {ANY: TEXT},
    "git_commit?": Maybe(TEXT),
    "started?": TEXT,
    "schema?": COUNT,
    "part?": {"number": COUNT, "of": COUNT, "runs": COUNT},
    "placements?": {ANY: one_of(*MODES)},
    "tuned?": {ANY: {ANY: NUMBER}},
    "scored?": {ANY: [COUNT]},
}


def mismatch(value: Any, pattern: Pattern, name: str = "it") -> str | None:
    """Compares a value from JSON with a pattern.

    Returns:
      The first difference, "`name` must ..., got ..."; None if the value fits.

    >>> mismatch({"seed": -1}, {"seed": COUNT}), mismatch({}, {"seed?": COUNT})
    ('`seed` must be a whole number from 0, got -1', None)
    """
    if isinstance(pattern, Maybe):
        return None if value is None else mismatch(value, pattern.pattern, name)
    if isinstance(pattern, Rule):
        return None if pattern.holds(value) else _differs(name, pattern.words, value)
    items: Collection[tuple[str, Any, Pattern]]
    if isinstance(pattern, list | tuple):
        if not isinstance(value, list):
            return _differs(name, "be a list", value)
        if not value and isinstance(pattern, list):
            return _differs(name, "hold at least one item", value)
        items = [(f"{name}[{i}]", item, pattern[0]) for i, item in enumerate(value)]
    else:
        if not isinstance(value, dict):
            return _differs(name, "be an object", value)
        known = {key.removesuffix("?"): part for key, part in pattern.items() if key != ANY}
        missing = [key for key in pattern if key[-1] not in f"?{ANY}" and key not in value]
        if missing:
            return f"`{missing[0]}` is missing"
        items = [
            (key, item, known.get(key, pattern.get(ANY)))
            for key, item in value.items()
            if key in known or ANY in pattern
        ]
    for part, item, rule in items:
        if difference := mismatch(item, rule, part):
            return difference
    return None


def _differs(name: str, words: str, value: Any) -> str:
    shown = repr(value)
    return f"`{name}` must {words}, got {shown if len(shown) < 60 else shown[:56] + '...'}"


def shapes(value: Any, name: str = "") -> Mapping[str, tuple[int, ...]]:
    """Returns the shape of each list in a record by its path; ragged lists have shape (-1,).

    >>> shapes({"a": [[1, 2], [3, 4]], "b": {"c": [1]}, "d": 2})
    {'a': (2, 2), 'b.c': (1,)}
    """
    if isinstance(value, dict):
        inside = [shapes(v, f"{name}.{k}" if name else str(k)) for k, v in value.items()]
        return {path: shape for each in inside for path, shape in each.items()}
    return {name: _shape(value)} if isinstance(value, list) else {}


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        return ()
    of_items = {_shape(item) for item in value}
    return (len(value), *(of_items.pop() if len(of_items) == 1 else (-1,) if of_items else ()))
