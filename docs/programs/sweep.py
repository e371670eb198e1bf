import jax.numpy as jnp
import optax

import sffa_jax as sf
from sffa_jax.scale.sweep import seed_keys, sweep

train, test = sf.samples_from(sf.data.load("digits"))
layers, overlay = sf.dense_layers([200]), sf.overlays.appended_gaussian()
network = sf.Network(layers, sf.sffa(), overlay, num_classes=10)


def run(key, learning_rate):  # a pure function of the key and the hyperparameters
    learner = sf.local_learner(network, optax.adam(learning_rate))
    result = sf.fit(learner, sf.Schedule(epochs=10, batch_size=64), key, train)
    return sf.evaluate(learner, result.state, test).network


rates, seeds = jnp.array([3e-4, 1e-3, 3e-3]), range(5)
runs = sweep(run, seed_keys([*seeds] * len(rates)), jnp.repeat(rates, len(seeds)), parallel="map")
accuracy = runs.reshape(len(rates), len(seeds))
print(accuracy.mean(axis=1))
