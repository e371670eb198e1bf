import jax
import jax.numpy as jnp
import numpy as np
from unchecked import no_shape_checks

from experiments.harness import continual_features
from sffa_jax.continual import features
from sffa_jax.continual.scenarios import make_scenario, make_task_stream
from sffa_jax.training.samples import Samples


def test_repeated_seeds_are_extracted_once(monkeypatch):
    extracted = []

    def to_host(tree):
        extracted.append(tree)
        return jax.tree.map(np.asarray, tree)

    monkeypatch.setattr(continual_features, "to_host", to_host)
    labels = np.array([0, 1, 2, 3])
    samples = Samples(jnp.eye(4), jnp.asarray(labels), jnp.zeros(4), jnp.ones(4), num_classes=4)
    stream = make_task_stream(labels, labels, range(4), make_scenario("class", range(4), 2))
    streams = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * 3), stream)
    model = features.random_features(5)
    cache = continual_features.FeatureCache()
    with no_shape_checks():
        images = cache.get("random", model, (3, 4, 3), streams, samples, samples).train.images
    assert len(extracted) == 2
    assert images.shape == (3, 4, 5)
    np.testing.assert_array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])
