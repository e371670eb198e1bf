import jax
import optax

import sffa_jax as sf

digits = sf.data.load("digits")
mean, std = sf.data.statistics(digits.train_images)
train = sf.make_samples(
    digits.train_images, digits.train_labels, num_classes=10, mean=mean, std=std
)
layers, overlay = sf.dense_layers([200]), sf.overlays.appended_gaussian()
network = sf.Network(layers, sf.sffa(), overlay, num_classes=10)
learner = sf.local_learner(network, optax.adam(1e-3))
result = sf.fit(learner, sf.Schedule(epochs=20, batch_size=64), jax.random.key(0), train, train)
