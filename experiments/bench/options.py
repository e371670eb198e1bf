"""The benchmark's options."""

from dataclasses import dataclass
from pathlib import Path

import sffa_jax
from experiments.config.options import check_names
from experiments.config.sizes import MOST_LAYERS
from sffa_jax.checks import check_integer, check_range, reject

CASE_NAMES = (
    *("networks", "winners", "sparse", "labels", "convolution", "precision", "linear", "sweep"),
    *("memory", "pipeline", "photographs"),
)

GRADIENT_PARTS = 4
"""Case memory: parts of a batch whose gradients one of backprop's programs adds up."""


@dataclass(frozen=True)
class Options:
    """Time training, scoring and sweeps, and measure their memory."""

    cases: tuple[str, ...] = CASE_NAMES[:-1]
    """Cases to measure: networks (an epoch, scoring, compiling), winners, sparse, labels,
    convolution, precision, linear, sweep, memory, pipeline (needs several devices; XLA_FLAGS makes
    host devices), photographs (six convolutions; if named: minutes on a CPU)."""
    networks: tuple[str, ...] = ("1x1400", "2x1400", "4x2000")
    """Networks, as depth x width."""
    winners: int = 15
    """Winners of each half, in the cases that have them."""
    negatives: tuple[str, ...] = ("uniform", "hard", "all")
    """SFFA's choices of wrong labels: uniform, hard, all."""
    batch_size: int = 512
    """Images per update."""
    images: int = 2_560
    """Training images of the timed epoch."""
    score_images: int = 10_000
    """Images that are scored against all labels."""
    features: int = 784
    """Pixels per image."""
    classes: int = 10
    """Number of labels."""
    memory_width: int = 1000
    """Width of the layers in the cases linear (depth), memory and pipeline."""
    sweep_widths: tuple[int, ...] = (200, 1400)
    """Widths of the networks in sweeps."""
    sweep_seeds: tuple[int, ...] = (4, 10)
    """Numbers of runs in sweeps."""
    repeats: int = 5
    """Minimum number of rounds; short rounds are repeated more often. Reports show medians."""
    out: Path | None = None
    """Folder for the results; a second start with the same folder resumes it."""

    def check(self) -> None:
        """Checks every option.

        Raises:
          ValueError: naming the first invalid option.
        """
        check_names("cases", self.cases, CASE_NAMES)
        check_names("negatives", self.negatives, list(sffa_jax.negatives.NEGATIVES))
        for network in self.networks:
            check_range("options", "winners", self.winners, at_most=hidden_widths(network)[0] // 2)
        for name in ("winners", "images", "score_images", "features", "batch_size", "repeats"):
            check_integer("options", name, getattr(self, name), 1)
        check_integer("options", "classes", self.classes, 2)
        for seeds in self.sweep_seeds:
            check_integer("options", "sweep_seeds", seeds, 1)
        widths = {"memory_width": (self.memory_width,), "sweep_widths": self.sweep_widths}
        for name, values in widths.items():
            for width in values:
                check_integer("options", name, width, 2)
                if width % 2:
                    raise reject("options", name, "be even, for SFFA's two halves", width)
        if "memory" in self.cases and self.batch_size % GRADIENT_PARTS:
            rule = f"be a multiple of {GRADIENT_PARTS} in the case memory, which adds up gradients"
            raise reject("options", "batch_size", rule, self.batch_size)
        sffa_jax.Schedule(1, self.batch_size).steps_per_epoch(self.images)


def hidden_widths(network: str) -> tuple[int, ...]:
    """Parses a network written as DEPTHxWIDTH into its hidden widths.

    Raises:
      ValueError: for another form, no layer or an odd width.

    >>> hidden_widths("2x1400")
    (1400, 1400)
    """
    depth, _, width = network.partition("x")
    if not (depth.isdecimal() and width.isdecimal() and int(depth) and int(width) > 1):
        got = repr(network)
        raise reject("options", "networks", "be written as DEPTHxWIDTH", got, "Try 2x1400.")
    check_range("options", "networks", int(depth), at_most=MOST_LAYERS)
    if int(width) % 2:
        raise reject("options", "networks", "have an even width", repr(network))
    return (int(width),) * int(depth)
