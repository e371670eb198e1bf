"""The same training and scoring in plain PyTorch, as a user would write it first.

Labels are scored one at a time, inputs are concatenated, and `torch.topk` finds the winners. Needs
the optional extra `sffa_jax[torch]`.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

LABEL_FEATURES = 100


def wait() -> None:
    """Waits until the device has finished."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def keep_winners(h: torch.Tensor, k: int) -> torch.Tensor:
    """Keeps the k largest activities of each half."""
    kept = []
    for half in h.chunk(2, dim=1):
        indices = torch.topk(half, k, dim=1).indices
        kept.append(half * torch.zeros_like(half).scatter_(1, indices, 1.0))
    return torch.cat(kept, dim=1)


class ForwardOnly(nn.Module):
    """A forward-only network: a list of layers with an optimizer each."""

    def __init__(
        self, algorithm: str, features: int, hidden: Sequence[int], classes: int, winners: int
    ) -> None:
        super().__init__()
        self.algorithm, self.winners, self.classes = algorithm, winners, classes
        self.register_buffer("codes", torch.randn(classes, LABEL_FEATURES))
        widths = [features + LABEL_FEATURES, *hidden]
        self.layers = nn.ModuleList(
            nn.Linear(below, units, bias=False) for below, units in itertools.pairwise(widths)
        )
        self.optimizers: list[torch.optim.Optimizer] = []

    def start(self, learning_rate: float = 1e-3) -> None:
        """Makes the optimizers; call it after moving the weights to their device."""
        self.optimizers = [
            torch.optim.Adam(layer.parameters(), learning_rate) for layer in self.layers
        ]

    def activity(self, layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Computes one layer's activity."""
        h = torch.relu(layer(x))
        return keep_winners(h, self.winners) if self.winners else h

    def logits(self, h: torch.Tensor) -> torch.Tensor:
        """Computes the logits of SFFA (scale 6, eps 1) or FFA (scale 20, threshold 0.3)."""
        if self.algorithm == "ffa":
            return 20 * (h.square().mean(dim=1) - 0.3)
        plus, minus = (half.square().sum(dim=1) for half in h.chunk(2, dim=1))
        return 6 * (torch.log(plus + 1) - torch.log(minus + 1))

    def next_input(self, h: torch.Tensor) -> torch.Tensor:
        """Normalizes activity for the next layer and stops the gradient."""
        parts = [h] if self.algorithm == "ffa" else list(h.chunk(2, dim=1))
        normalized = [p / (p.square().mean(dim=1, keepdim=True).sqrt() + 1e-8) for p in parts]
        return torch.cat(normalized, dim=1).detach()

    def with_label(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Appends the code of each label to its image."""
        return torch.cat([x, self.codes[labels]], dim=1)

    def losses(self, x: torch.Tensor, labels: torch.Tensor, wrong: torch.Tensor) -> Any:
        """Yields the loss of each layer; the caller may update the layer in between."""
        positive, negative = self.with_label(x, labels), self.with_label(x, wrong)
        for layer in self.layers:
            h_pos, h_neg = self.activity(layer, positive), self.activity(layer, negative)
            softplus = nn.functional.softplus
            loss = softplus(-self.logits(h_pos)) + softplus(self.logits(h_neg))
            yield 0.5 * loss.mean()
            positive, negative = self.next_input(h_pos), self.next_input(h_neg)

    def step(self, x: torch.Tensor, labels: torch.Tensor) -> None:
        """Makes one update of every layer."""
        wrong = (labels + torch.randint_like(labels, 1, self.classes)) % self.classes
        for optimizer, loss in zip(self.optimizers, self.losses(x, labels, wrong), strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @torch.no_grad()
    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """Computes the score of every label, one label after another."""
        scores = []
        for label in range(self.classes):
            h = self.with_label(x, torch.full((len(x),), label, device=x.device))
            total = torch.zeros(len(x), device=x.device)
            for layer in self.layers:
                h = self.activity(layer, h)
                total = total + self.logits(h)
                h = self.next_input(h)
            scores.append(total)
        return torch.stack(scores, dim=1)


class Backprop(nn.Module):
    """The same layers and a readout, trained end to end."""

    def __init__(self, features: int, hidden: Sequence[int], classes: int) -> None:
        super().__init__()
        widths = [features, *hidden]
        layers: list[nn.Module] = []
        for below, units in itertools.pairwise(widths):
            layers += [nn.Linear(below, units, bias=False), nn.ReLU()]
        self.network = nn.Sequential(*layers, nn.Linear(widths[-1], classes))
        self.optimizers: list[torch.optim.Optimizer] = []

    def start(self, learning_rate: float = 1e-3) -> None:
        """Makes the optimizer."""
        self.optimizers = [torch.optim.Adam(self.parameters(), learning_rate)]

    def step(self, x: torch.Tensor, labels: torch.Tensor) -> None:
        """Makes one update."""
        (optimizer,) = self.optimizers
        optimizer.zero_grad()
        nn.functional.cross_entropy(self.network(x), labels).backward()
        optimizer.step()

    @torch.no_grad()
    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """Computes the logits."""
        return self.network(x)


def programs(
    algorithm: str,
    images: np.ndarray,
    labels: np.ndarray,
    hidden: Sequence[int],
    *,
    classes: int,
    winners: int,
    batch_size: int,
    chunk: int,
    backend: str,
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Returns two calls: an epoch of training on the images, and scoring all of them."""
    # The GPU if JAX uses one and PyTorch sees it.
    device = torch.device("cuda" if backend == "gpu" and torch.cuda.is_available() else "cpu")
    x = torch.tensor(images, dtype=torch.float32, device=device) / 255
    y = torch.tensor(labels, dtype=torch.int64, device=device)
    features = x.shape[1]
    network: Any = (
        Backprop(features, hidden, classes)
        if algorithm == "bp"
        else ForwardOnly(algorithm, features, hidden, classes, winners)
    )
    network.to(device)
    network.start()

    def train() -> None:
        order = torch.randperm(len(x), device=device)
        for i in range(len(x) // batch_size):
            batch = order[i * batch_size : (i + 1) * batch_size]
            network.step(x[batch], y[batch])
        wait()

    def score() -> None:
        predictions = [network.scores(part).argmax(dim=1) for part in x.split(chunk)]
        assert len(torch.cat(predictions)) == len(x)
        wait()

    return train, score
