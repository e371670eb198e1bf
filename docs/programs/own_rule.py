import jax
import jax.numpy as jnp
import optax

import sffa_jax as sf


def logit(h):  # activity [..., units] -> [...]: the largest unit of each half
    plus, minus = jnp.split(h, 2, axis=-1)
    return 6 * (jnp.log(plus.max(-1) + 0.1) - jnp.log(minus.max(-1) + 0.1))


def hinge(logits, targets, allowed=None):  # [batch, candidates] -> [batch]
    return jax.nn.relu(1 - jnp.where(targets, logits, -logits)).mean(-1, where=allowed)


def two_wrong(key, labels, num_classes, scores):  # -> candidates [batch, 3], true label first
    shifts = jax.random.randint(key, (len(labels), 2), 1, num_classes)
    return jnp.concatenate([labels[:, None], (labels[:, None] + shifts) % num_classes], axis=-1)


train, test = sf.samples_from(sf.data.load("digits"))
rule = sf.make_rule(logit, polar=True, loss=hinge)
network = sf.Network(sf.dense_layers([200]), rule, sf.overlays.appended_gaussian(), num_classes=10)
learner = sf.local_learner(network, optax.adam(1e-3), negatives=two_wrong)
result = sf.fit(learner, sf.Schedule(epochs=20, batch_size=64), jax.random.key(0), train)
accuracy = sf.evaluate(learner, result.state, test).network
