import jax
import jax.numpy as jnp
import numpy as np
import optax

from sffa_jax.core.architectures import dense_layers
from sffa_jax.training import backprop
from sffa_jax.training.backprop import backprop_learner

X = jax.random.normal(jax.random.key(0), (6, 5))
LABELS = jnp.array([0, 1, 2, 0, 1, 2])


def test_one_step_is_gradient_descent_on_the_cross_entropy():
    learner = backprop_learner(dense_layers([4]), 3, optax.sgd(0.5))
    state = learner.init(jax.random.key(1), X)
    w = np.float64(state.params[0]["kernels"]["input"])
    v = np.float64(state.params[1]["kernels"]["input"])
    x, y = np.float64(X), np.eye(3)[np.array(LABELS)]
    h = np.maximum(x @ w, 0)
    z = h @ v
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    new, loss = learner.step(state, jax.random.key(2), X, LABELS)
    np.testing.assert_allclose(loss[0], -np.mean(np.sum(y * np.log(p), axis=1)), rtol=1e-5)
    dz = (p - y) / 6
    dw = x.T @ ((dz @ v.T) * (h > 0))
    kernel = new.params[0]["kernels"]["input"]
    np.testing.assert_allclose(kernel, w - 0.5 * dw, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        new.params[1]["kernels"]["input"], v - 0.5 * h.T @ dz, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(learner.scores(state, X)[0], z, rtol=1e-4, atol=1e-5)


def test_label_smoothing_spreads_the_target():
    learner = backprop_learner(dense_layers([4]), 3, optax.sgd(0.5), label_smoothing=0.3)
    state = learner.init(jax.random.key(1), X)
    z = np.float64(learner.scores(state, X)[0])
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    targets = 0.7 * np.eye(3)[np.array(LABELS)] + 0.1
    _, loss = learner.step(state, jax.random.key(2), X, LABELS)
    np.testing.assert_allclose(loss[0], -np.mean(np.sum(targets * log_p, axis=1)), rtol=1e-5)


def test_hidden_activities():
    layers = backprop.with_readout(dense_layers((8, 6)), 3)
    params, _ = backprop.init_layers(layers, jax.random.key(0), X)
    first, second = backprop.hidden_activities(layers[:-1], params, X)
    kernels = [p["kernels"]["input"] for p in params]
    np.testing.assert_allclose(first, jax.nn.relu(X @ kernels[0]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(second, jax.nn.relu(first @ kernels[1]), rtol=1e-4, atol=1e-6)
