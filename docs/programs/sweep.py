import jax.numpy as jnp
import optax

import sffa_jax as sf
from sffa_jax.scale.sweep import seed_keys, sweep

digits = sf.data.load("digits")
train = sf.make_samples(digits.train_images, digits.train_labels, num_classes=10, mean=0.3, std=0.4)
test = sf.make_samples(digits.test_images, digits.test_labels, num_classes=10, mean=0.3, std=0.4)
layers, overlay = sf.dense_layers([200]), sf.overlays.appended_gaussian()
network = sf.Network(layers, sf.sffa(), overlay, num_classes=10)


def run(key, learning_rate):  # a pure function of the key and the hyperparameters
    learner = sf.local_learner(network, optax.adam(learning_rate))
    result = sf.fit(learner, sf.Schedule(epochs=10, batch_size=64), key, train, train)
    return sf.evaluate(learner, result.progress.best, test).network


rates, seeds = jnp.array([3e-4, 1e-3, 3e-3]), range(5)
runs = sweep(run, seed_keys([*seeds] * len(rates)), jnp.repeat(rates, len(seeds)), parallel="map")
accuracy = runs.reshape(len(rates), len(seeds))
print(accuracy.mean(axis=1))
