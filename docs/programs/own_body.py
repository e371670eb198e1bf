import jax
import optax
from flax import linen as nn

import sffa_jax as sf


class Block(nn.Module):  # two convolutions with a shortcut: [samples, height, width, channels]
    @nn.compact
    def __call__(self, x, train):
        h = nn.Conv(32, (3, 3), use_bias=False)(x)
        h = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(h))
        h = nn.Dropout(0.1, deterministic=not train)(nn.Conv(32, (3, 3))(h))
        return h + nn.Conv(32, (1, 1))(x)


first = sf.conv_layers((8, 8), [16], normalization="batch", dropout=0.1)
layers = (*first, sf.Layer(Block(), grid=sf.Grid(4, 4, 16)))
sffa = sf.sffa(logit_scale=12.0, eps=1e-3, loss="softmax", normalize="whole")
rule = sf.with_class_units(sffa, sf.class_units.learned())  # no label enters the image
network = sf.Network(layers, rule, sf.overlays.none(), num_classes=10)
train, test = sf.samples_from(sf.data.load("digits"))
learner = sf.local_learner(network, optax.adam(1e-2), negatives="all")
result = sf.fit(learner, sf.Schedule(epochs=5, batch_size=32), jax.random.key(0), train)
accuracy = sf.evaluate(learner, result.state, test).network
