import jax
import optax
from flax import linen as nn

import sffa_jax as sf


class Separable(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x):  # [samples, height, width, channels] -> maps
        x = nn.Conv(x.shape[-1], (3, 3), feature_group_count=x.shape[-1])(x)
        return nn.Conv(self.features, (1, 1))(x)


first = sf.Layer(Separable(32), grid=sf.Grid(8, 8, 1), pool="max")
second = sf.Layer(Separable(64), grid=sf.Grid(4, 4, 32))
sffa = sf.sffa(logit_scale=12.0, eps=1e-3, loss="softmax", normalize="whole")
rule = sf.with_class_units(sffa, sf.class_units.learned())  # no label enters the image
network = sf.Network((first, second), rule, sf.overlays.none(), num_classes=10)
train, test = sf.samples_from(sf.data.load("digits"))
learner = sf.local_learner(network, optax.adam(1e-2), negatives="all")
result = sf.fit(learner, sf.Schedule(epochs=5, batch_size=64), jax.random.key(0), train)
accuracy = sf.evaluate(learner, result.state, test).network
