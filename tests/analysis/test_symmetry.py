from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax import ffa, sffa
from sffa_jax.analysis.symmetry import gradient_norms, landscape
from sffa_jax.core import network, overlays
from sffa_jax.core.architectures import dense_layers
from sffa_jax.core.class_units import groups
from sffa_jax.core.rules import with_class_units

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 12)), jnp.float32)
LABELS, WRONG = (jnp.asarray(np.int32(labels)) for labels in ([0, 1, 2, 1], [2, 0, 1, 0]))


def landscape_of(rule, **options):
    """In one program, in place of one for each operation."""
    return jax.tree.map(np.asarray, jax.jit(partial(landscape, rule, **options))())


def test_sffas_two_landscapes_are_mirror_images():
    land = landscape_of(sffa(logit_scale=2.0, eps=0.1), points=7)
    np.testing.assert_array_equal(land.loss[0], land.loss[1].T)
    np.testing.assert_allclose(
        land.slope[0], land.slope[1].transpose(1, 0, 2)[..., ::-1], rtol=1e-5, atol=1e-7
    )


def test_ffas_are_not():
    land = landscape_of(ffa(threshold=2.0, logit_scale=1.0), highest=2.0, points=3)
    assert np.abs(land.loss[0] - land.loss[1].T).max() > 1
    # At rest: a positive sample loses log(1 + e^2), and nothing pushes it away from there.
    assert land.loss[0, 0, 0] == pytest.approx(np.log1p(np.exp(2.0)), rel=1e-6)
    np.testing.assert_array_equal(land.slope[:, 0, 0], np.zeros((2, 2)))
    # Activities 2 and 1: the mean square is 2.5.
    assert land.loss[1, 2, 1] == pytest.approx(np.log1p(np.exp(0.5)), rel=1e-6)


@pytest.mark.parametrize("rule", [ffa(threshold=0.5), sffa(eps=1e-3)], ids=["ffa", "sffa"])
def test_gradient_norms_match_the_plain_route(rule):
    net = network.Network(dense_layers([8, 6]), rule, overlays.corner_one_hot(), num_classes=3)

    @jax.jit
    def norms(key):
        params = network.init_network(net, key, X)
        first, second = (next(iter(layer["kernels"].values())) for layer in params.layers)
        plain = []
        for sign, labels in ((-1, LABELS), (1, WRONG)):
            x = overlays.overlay_inputs(params.overlay, X, labels)

            def loss(kernel, x, sign=sign):
                return jax.nn.softplus(sign * rule.logit(jax.nn.relu(x @ kernel))).mean()

            h = rule.normalize(jax.nn.relu(x @ first))
            gradients = jax.grad(loss)(first, x), jax.grad(loss)(second, h)
            plain.append([jnp.linalg.norm(gradient) for gradient in gradients])
        return gradient_norms(net, params, X, LABELS, WRONG), plain

    found, plain = norms(jax.random.key(1))
    np.testing.assert_allclose(found, np.transpose(plain), rtol=1e-4)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (sffa(loss="softmax"), r"`rule` must have the loss \"bce\""),
        (sffa(activity_rate=10.0), "`rule` must have no activity factor"),
        (with_class_units(sffa(), groups()), "`rule` must have no class units"),
    ],
)
def test_rules_that_do_not_treat_samples_separately_are_refused(rule, message):
    with pytest.raises(ValueError, match=message):
        landscape(rule, points=3)
