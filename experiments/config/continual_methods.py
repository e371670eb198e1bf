"""The table of continual-learning methods, used by options, runs and reports.

A new method is one line in `METHODS`; `docs/continual.md` shows an example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import sffa_jax
from sffa_jax import continual, training

if TYPE_CHECKING:
    import jax

    from sffa_jax import LocalRule
    from sffa_jax.continual import Model, Scenario, Strategy


class Setup(NamedTuple):
    """Inputs for building a method.

    Attributes:
      options: the command's options, see `continual_options.Options`.
      algorithm: "sffa", "ffa" or "bp".
      scenario: tasks and labels.
      shape: shape of an image.
      background: scaled value of a black pixel.
      strength: default or tuned strength of a method with `strengths`; may be traced.
    """

    options: Any
    algorithm: str
    scenario: Scenario
    shape: Sequence[int]
    background: Any = 0.0
    strength: float | jax.Array = 0.0


class Method(NamedTuple):
    """A method against forgetting.

    Attributes:
      label: its name in tables and figures.
      make: setup -> strategy.
      strengths: default strength by algorithm, in the unit that the strategy's docstring states;
        `--tune` searches around it. Empty: no strength.
      model: setup -> the network of the method; None: the options' network.
      features: what the method receives, one of `FEATURES`; None: what `--inputs` says.
      forward_only: whether it needs local losses, so that backprop is rejected.
      readout: whether it is a closed-form readout of fixed features, so that the algorithm has
        no effect.
      online: whether it can learn without knowledge of tasks (`--online`).
      note: remark for `--help` and the report.
    """

    label: str
    make: Callable[[Setup], Strategy]
    strengths: Mapping[str, float] = MappingProxyType({})
    model: Callable[[Setup], Model] | None = None
    features: str | None = None
    forward_only: bool = False
    readout: bool = False
    online: bool = False
    note: str = ""

    @property
    def trained(self) -> bool:
        """Whether an optimizer trains the network; closed forms use no learning rate."""
        return self.model is not _pixels


BUFFERS: dict[str, dict[str, Any]] = {
    "equal_tasks": {"weight": None, "balance": "class"},
    "released": {"weight": 1.0, "balance": "task"},
}
"""Arguments of replay by name."""


def _pixels(setup: Setup) -> Model:
    del setup
    return continual.features.pixels()


def _maps(setup: Setup, learned: bool = True) -> Model:
    options = setup.options
    return continual.features.maps(
        setup.shape, options.features, mirrored=options.mirrored, learned=learned
    )


FEATURES: dict[str, Callable[[Setup], Model] | None] = {
    "images": None,
    "random": lambda s: continual.features.random_features(s.options.features),
    "fourier": lambda s: continual.features.random_fourier_features(s.options.features),
    "random_maps": lambda s: _maps(s, learned=False),
    "maps": _maps,
    "components": lambda s: continual.features.principal_components(_maps(s), s.options.components),
}
"""What a method receives, by name: images, or features that are extracted once for a run."""


def _rule(algorithm: str) -> LocalRule:
    """The rule whose logit scores class groups and class subspaces, for images of mean square 1."""
    if algorithm == "ffa":
        return sffa_jax.ffa(threshold=1.0, logit_scale=2.0)
    return sffa_jax.sffa(logit_scale=1.0, eps=1e-6)


def _groups(setup: Setup) -> Model:
    rule = _rule(setup.algorithm)
    classes = setup.scenario.num_classes
    return continual.grouped_model(setup.options.hidden, classes, rule.logit, polar=rule.polar)


def _class_groups(setup: Setup, slots: int = 0) -> Strategy:
    negatives = setup.options.synthetic_negatives
    return continual.strategies.class_groups(shape=setup.shape, negatives=negatives, slots=slots)


def _class_subspaces(setup: Setup) -> Strategy:
    rule, options = _rule(setup.algorithm), setup.options
    return continual.strategies.class_subspaces(
        logit=rule.logit, polar=rule.polar, axes=options.axes, online=options.online
    )


def _replay(setup: Setup) -> Strategy:
    options, moves = setup.options, []
    if options.memory_rotation or options.memory_zoom:
        turned = options.memory_rotation, options.memory_zoom
        moves.append(training.augment.affine(setup.shape, *turned, setup.background))
    if options.memory_shift:
        moves.append(training.augment.shift(setup.shape, options.memory_shift, setup.background))
    # One move keeps the key that it had before there were others.
    moved = moves[0] if len(moves) == 1 else training.augment.chain(moves)
    buffer = BUFFERS[options.buffer]
    return continual.strategies.replay(slots=options.memory, augment=moved, **buffer)


def _slda(setup: Setup) -> Strategy:
    return continual.strategies.slda(ridge=setup.strength, online=setup.options.online)


def _qda(setup: Setup) -> Strategy:
    return continual.strategies.qda(shared=setup.strength, online=setup.options.online)


def _activity_rehearsal(setup: Setup) -> Strategy:
    options = setup.options
    return continual.strategies.activity_rehearsal(
        components=1 if options.online else options.gaussians,
        draws=options.draws,
        rank=options.rank,
        shared=setup.strength,
        relabel=options.relabel,
        online=options.online,
    )


def _all(strength: float) -> dict[str, float]:
    return dict.fromkeys(("sffa", "ffa", "bp"), strength)


def _closed_form(
    label: str, make: Callable[[Setup], Strategy], features: str, strength: float | None = None
) -> Method:
    """A closed-form readout of fixed features."""
    strengths = {} if strength is None else _all(strength)
    return Method(label, make, strengths, _pixels, features, readout=True, online=True)


METHODS: dict[str, Method] = {
    "none": Method("none", lambda _: continual.strategies.none(), note="lower bound"),
    "ewc": Method("EWC", lambda s: continual.strategies.ewc(strength=s.strength), _all(1e5)),
    "si": Method(
        "SI", lambda s: continual.strategies.si(strength=s.strength), _all(1e4) | {"bp": 1e3}
    ),
    "mas": Method("MAS", lambda s: continual.strategies.mas(strength=s.strength), _all(1.0)),
    "lwf": Method("LwF", lambda s: continual.strategies.lwf(strength=s.strength), _all(1.0)),
    "gem": Method("GEM", lambda s: continual.strategies.gem(patterns=s.options.patterns)),
    "agem": Method("A-GEM", lambda s: continual.strategies.agem(slots=s.options.memory)),
    "replay": Method("Replay", _replay),
    "derpp": Method("DER++", lambda s: continual.strategies.derpp(slots=s.options.memory)),
    "gdumb": Method("GDumb", lambda s: continual.strategies.gdumb(slots=s.options.memory)),
    "joint": Method(
        "joint (all images)",
        lambda _: continual.strategies.joint(),
        note="stores every image, and replays one for each new one",
    ),
    "class_subspaces": Method(
        "Class subspaces (CLAFIC)",
        _class_subspaces,
        model=_pixels,
        features="images",
        forward_only=True,
        online=True,
        note="closed-form generative classifier on pixels, not trained by FFA or SFFA",
    ),
    "class_groups": Method(
        "Class groups",
        _class_groups,
        model=_groups,
        features="images",
        forward_only=True,
        note="dense layers of --hidden units; other options of networks and labels have no effect",
    ),
    "class_groups_replay": Method(
        "Class groups, Replay",
        lambda s: _class_groups(s, s.options.memory),
        model=_groups,
        features="images",
        forward_only=True,
    ),
    "usage_gating": Method(
        "Usage gating",
        lambda s: continual.strategies.usage_gating(strength=s.strength),
        {"sffa": 1.0, "ffa": 1.0},
        forward_only=True,
    ),
    "ncm": _closed_form(
        "Nearest class mean, pixels",
        lambda s: continual.strategies.ncm(online=s.options.online),
        "images",
    ),
    "slda": _closed_form("Streaming LDA, pixels", _slda, "images", 1e-3),
    "slda_random": _closed_form("Streaming LDA, random features", _slda, "random", 1e-3),
    "slda_random_maps": _closed_form("Streaming LDA, random maps", _slda, "random_maps", 1e-3),
    "slda_maps": _closed_form("Streaming LDA, learned maps", _slda, "maps", 1e-3),
    "slda_components": _closed_form("Streaming LDA, components of maps", _slda, "components", 1e-3),
    "randumb": _closed_form(
        "RanDumb (LDA, random Fourier features)",
        lambda s: continual.strategies.slda(ridge=None, online=s.options.online),
        "fourier",
    ),
    "qda": _closed_form("QDA, pixels", _qda, "images", 0.1),
    "qda_random": _closed_form("QDA, random features", _qda, "random", 0.1),
    "qda_random_maps": _closed_form("QDA, random maps", _qda, "random_maps", 0.1),
    "qda_maps": _closed_form("QDA, learned maps", _qda, "maps", 0.1),
    "qda_components": _closed_form("QDA, components of maps", _qda, "components", 0.1),
    "activity_rehearsal": Method(
        "Activity rehearsal",
        _activity_rehearsal,
        {"sffa": 0.03, "ffa": 0.03},
        forward_only=True,
        online=True,
        note="stores no image; see --preset maps",
    ),
}
"""Every method by its name on the command line, in the order of tables."""


def method_label(name: str) -> str:
    """Returns a method's name in tables; for a method not in `METHODS`, the name itself."""
    return METHODS[name].label if name in METHODS else name


def described() -> str:
    """Lists all methods in one sentence, for `--help`."""
    names = [f"{name} ({method.note})" if method.note else name for name, method in METHODS.items()]
    return ", ".join(names)
