"""Flax modules with a state, shared by tests."""

from flax import linen as nn


class Normalized(nn.Module):
    """A linear map, batch normalization and dropout."""

    features: int
    dropout: float = 0.25

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(self.features, use_bias=False)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        return nn.Dropout(self.dropout, deterministic=not train)(x)
