"""Which options have an effect. The commands refuse a typed option that has none."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from experiments.config.choices import ALGORITHMS, CONTROLS
from experiments.config.continual_methods import METHODS
from experiments.config.recipe import Recipe
from sffa_jax.checks import check_choice, reject

Values = Mapping[str, Any]
"""Options by name, with the values of one `algorithm`."""

OF_SFFA = ("winners", "logit_scale", "eps", "measure")
OF_FFA = ("ffa_winners", "ffa_threshold", "ffa_logit_scale", "ffa_measure")
OF_GOODNESS = (
    *("input_skip", "overlay", "overlay_size", "overlay_density", "overlay_value", "wave"),
    *("class_units", "polarity_rate"),
    *("negatives", "loss", "activity_rate", "clip", "score", "pass_winners_only"),
)
OF_LOCAL_LOSSES = (
    *("normalize", "first_scored", "last_scored", "update_order"),
    *("places", "second_term", "second_weight"),
)

UNUSED = {
    "sffa": OF_FFA,
    "ffa": OF_SFFA,
    "head": (*OF_GOODNESS, *OF_SFFA, *OF_FFA),
    "bp": (*OF_GOODNESS, *OF_LOCAL_LOSSES, *OF_SFFA, *OF_FFA),
}
"""Fields of a recipe without effect on an algorithm."""


def scores_are_logits(score: str, algorithm: str) -> bool:
    """Returns whether a softmax of an algorithm's scores gives the labels' probabilities: a sum of
    the layers' probabilities does not.

    >>> scores_are_logits("probability", "sffa"), scores_are_logits("probability", "bp")
    (False, True)
    """
    return score == "logit" or "score" in UNUSED.get(algorithm, ())


class Need(NamedTuple):
    """What an option needs. Attributes: words: after "without"; holds: whether values have it."""

    words: str
    holds: Callable[[Values], Any]


_CHANNELS = Need("--channels", lambda v: v["channels"])
_DEEP = Need("two layers or more", lambda v: len(v["channels"]) + len(v["hidden"]) > 1)
_TUNE = Need("--tune", lambda v: v["tune"])
_APPENDED = Need("an appended --overlay", lambda v: v["overlay"].startswith("appended"))
_HELD_OUT = Need(
    "--selection validation or a search",
    lambda v: v["selection"] == "validation" or v.get("tune") or "trials" in v,
)

NEEDS: dict[str, Need] = {
    **dict.fromkeys(("kernel", "stride", "padding", "pool"), _CHANNELS),
    "pooled": Need("--channels and --pool", lambda v: v["channels"] and v["pool"]),
    "pass_winners_only": Need(
        "--winners or --ffa-winners",
        lambda v: v["ffa_winners" if v["algorithm"] == "ffa" else "winners"],
    ),
    # What a layer passes on, when it trains, and how layers vote.
    **dict.fromkeys(("input_skip", "normalize", "update_order"), _DEEP),
    **dict.fromkeys(("first_scored", "last_scored"), _DEEP),
    "score": Need(
        "two layers or more, or --negatives hard",
        lambda v: _DEEP.holds(v) or v["negatives"] == "hard",
    ),
    "overlay_size": _APPENDED,
    "overlay_density": Need(
        "--overlay appended_pattern", lambda v: v["overlay"] == "appended_pattern"
    ),
    "overlay_value": Need(
        "an appended --overlay or corner",
        lambda v: v["overlay"] == "corner" or _APPENDED.holds(v),
    ),
    "wave": Need("--overlay image_wave", lambda v: v["overlay"] == "image_wave"),
    "places": Need(
        "--class-units learned",
        lambda v: v["class_units"] == "learned" or v["algorithm"] in CONTROLS,
    ),
    # Other losses compare logits, from which a threshold cancels.
    "ffa_threshold": Need("--loss bce", lambda v: v["loss"] == "bce"),
    "polarity_rate": Need("--class-units learned", lambda v: v["class_units"] == "learned"),
    "second_weight": Need("--second-term", lambda v: v["second_term"]),
    "label_smoothing": Need(
        "--loss softmax",
        lambda v: v["loss"] == "softmax" or v["algorithm"] in ("bp", *CONTROLS),
    ),
    "edges": Need("--shift", lambda v: v["shift"]),
    "validation": _HELD_OUT,
    "split": _HELD_OUT,
    "tune_seeds": _TUNE,
    "tune_epochs": _TUNE,
}
"""Options of the commands that train by a recipe that have an effect only together with others."""


def _strategy(*names: str) -> Need:
    words = f"the strategy {names[0]}" if len(names) == 1 else f"a strategy of {', '.join(names)}"
    return Need(words, lambda v: {*names} & {*v["strategies"]})


def _inputs(words: str, *names: str) -> Need:
    def holds(values: Values) -> bool:
        methods = [METHODS[name] for name in values["strategies"]]
        return any((method.features or values["inputs"]) in names for method in methods)

    return Need(words, holds)


_FORWARD = Need("the algorithm sffa or ffa", lambda v: v["algorithm"] != "bp")
_REHEARSAL = _strategy("activity_rehearsal")
_MAPS = ("random_maps", "maps", "components")

CONTINUAL_NEEDS: dict[str, Need] = {
    **dict.fromkeys(("kernel", "stride", "pool"), _CHANNELS),
    **dict.fromkeys(("overlay", "class_units", "coupling", "winners"), _FORWARD),
    "negatives": Need(
        "the algorithm sffa or ffa, and --coupling local",
        lambda v: _FORWARD.holds(v) and v["coupling"] == "local",
    ),
    "logit_scale": Need("the algorithm sffa", lambda v: v["algorithm"] == "sffa"),
    "tune_rates": Need(
        "a strategy that trains", lambda v: any(METHODS[name].trained for name in v["strategies"])
    ),
    "memory": _strategy("replay", "derpp", "agem", "gdumb", "class_groups_replay"),
    "buffer": _strategy("replay"),
    "patterns": _strategy("gem"),
    "synthetic_negatives": _strategy("class_groups", "class_groups_replay"),
    "axes": _strategy("class_subspaces"),
    **dict.fromkeys(("draws", "rank", "relabel"), _REHEARSAL),
    "gaussians": Need(
        f"{_REHEARSAL.words}, or with --online",
        lambda v: _REHEARSAL.holds(v) and not v["online"],
    ),
    "features": _inputs(
        "--inputs of features, or a strategy of features", "random", "fourier", *_MAPS
    ),
    "components": _inputs("--inputs components, or a strategy of components", "components"),
    "mirrored": _inputs("--inputs of maps, or a strategy of maps", *_MAPS),
    "validation": Need(
        "--held-out, --tune or --tune-rates",
        lambda v: v["held_out"] or v["tune"] or v["tune_rates"],
    ),
}
"""The same of continual learning; its strategies and algorithms are known ones."""


def missing(option: str, values: Values, needs: Mapping[str, Need] = NEEDS) -> str | None:
    """Returns why an option has no effect on an algorithm; None if it has one.

    >>> missing("eps", {"algorithm": "bp"}), missing("edges", {"algorithm": "bp", "shift": 0})
    ('on bp', 'without --shift')
    """
    if needs is NEEDS and option in UNUSED[values["algorithm"]]:
        return f"on {values['algorithm']}"
    need = needs.get(option)
    return None if need is None or need.holds(values) else f"without {need.words}"


def is_used(recipe: Recipe, algorithm: str, field: str) -> bool:
    """Returns whether a field of the recipe has an effect on an algorithm."""
    return missing(field, {**vars(recipe), "algorithm": algorithm}) is None


def check_typed(
    typed: Collection[str],
    own: Mapping[str, Collection[str]],
    values: Mapping[str, Values],
    replaced: Mapping[str, Mapping[str, str]],
    needs: Mapping[str, Need] = NEEDS,
) -> None:
    """Raises ValueError for the first typed option that has no effect.

    Args:
      typed: options for all algorithms.
      own: options of one algorithm only, by algorithm.
      values: the options of each algorithm that runs.
      replaced: by algorithm the options that the command replaces, each with what replaces it.
      needs: what options need.
    """
    for algorithm, options in own.items():
        check_choice("options", "by_algorithm", algorithm, (*ALGORITHMS, *CONTROLS))
        for option in sorted(options):
            name = f"{algorithm}.{option}"
            if algorithm not in values:
                rule = f"be left out unless --algorithms names {algorithm}"
                raise reject("options", name, rule, f"--algorithms {' '.join(values)}")
            _check_effect(name, option, {algorithm: values[algorithm]}, replaced, needs)
    for option in sorted(typed):
        _check_effect(option, option, values, replaced, needs)


def _check_effect(
    name: str,
    option: str,
    values: Mapping[str, Values],
    replaced: Mapping[str, Mapping[str, str]],
    needs: Mapping[str, Need],
) -> None:
    """Raises ValueError if an option has an effect on none of some algorithms, or if the command
    replaces it for one of them."""
    shown = next((repr(v[option]) for v in values.values() if option in v), None)
    if shown is None:
        return
    by = {a: replaced[a][option] for a in values if option in replaced.get(a, {})}
    if by:
        rule = f"be left out, because {next(iter(by.values()))} for {', '.join(by)}"
        raise reject("options", name, rule, shown)
    reasons = [missing(option, of_one, needs) for of_one in values.values()]
    if all(reasons):
        without = [reason for reason in reasons if reason and reason.startswith("without")]
        reason = without[0] if without else f"on {', '.join(values)}"
        raise reject("options", name, f"be left out, because it has no effect {reason}", shown)
