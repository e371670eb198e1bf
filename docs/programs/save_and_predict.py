import pathlib

import jax
import optax
from jax import export

import sffa_jax as sf

digits = sf.data.load("digits")
train, test = sf.samples_from(digits)
overlay = sf.overlays.appended_gaussian()
network = sf.Network(sf.dense_layers([200]), sf.sffa(), overlay, num_classes=10)
learner = sf.local_learner(network, optax.adam(1e-3))
result = sf.fit(learner, sf.Schedule(epochs=20, batch_size=64), jax.random.key(0), train)
sf.save("digits.npz", learner, result.state, train)

saved = sf.load("digits.npz")  # in another program
labels = saved.predict(digits.test_images)  # raw pixels, uint8
accuracy = (labels == digits.test_labels).mean()

saved.export("digits.jax")  # a program that needs JAX only
program = export.deserialize(pathlib.Path("digits.jax").read_bytes())
same_labels, probabilities = program.call(digits.test_images.reshape(-1, 64))
