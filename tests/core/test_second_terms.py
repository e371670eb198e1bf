"""Second terms against published code, rewritten in NumPy, and against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sffa_jax.core import class_units, rules, second_terms

RNG = np.random.default_rng(0)
LABELS = np.array([0, 1, 0, 2, 1, 0], np.int32)
UNITS = RNG.uniform(size=(6, 8)).astype(np.float32)
MAPS = RNG.normal(size=(6, 4, 3, 6)).astype(np.float32)


def loss_of(term, h, params=None):
    return np.asarray(
        jax.jit(lambda p, h: term.loss(p, h, jnp.asarray(LABELS), 3))(params, jnp.asarray(h))
    )


def normalized(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def khosla(features, temperature):
    """`SupConLoss` of github.com/HobbitLong/SupContrast for one view, without the last mean."""
    contrast = normalized(features) @ normalized(features).T / temperature
    contrast = contrast - contrast.max(1, keepdims=True)
    not_self = 1 - np.eye(len(features))
    same = (LABELS[:, None] == LABELS[None]) * not_self
    log_probability = contrast - np.log((np.exp(contrast) * not_self).sum(1, keepdims=True))
    return -(same * log_probability).sum(1) / np.maximum(same.sum(1), 1)


def nokland(x):
    """`similarity_matrix` of github.com/anokland/local-loss, for units or maps."""
    if x.ndim == 4:  # there [batch, maps, h, w], of more than 3 maps
        z = np.moveaxis(x, -1, 1).reshape(len(x), x.shape[-1], -1)
        x = z.std(axis=2)
    centred = normalized(x - x.mean(1, keepdims=True))
    return centred @ centred.T


@pytest.mark.parametrize("h", [UNITS, MAPS], ids=["units", "maps"])
def test_contrast_is_khoslas(h):
    rows = h.reshape(6, -1)
    found = loss_of(second_terms.supervised_contrast(temperature=0.3, size=None), h)
    np.testing.assert_allclose(found, khosla(rows, 0.3), rtol=1e-3, atol=1e-5)
    assert found[3] == 0  # alone in its class
    term = second_terms.supervised_contrast(temperature=0.3, size=5)
    head = np.asarray(term.init(jax.random.key(0), h.shape[1:]))
    assert head.shape == (rows.shape[1], 5)
    found = loss_of(term, h, jnp.asarray(head))
    np.testing.assert_allclose(found, khosla(rows @ head, 0.3), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("h", [UNITS, MAPS], ids=["units", "maps"])
def test_similarity_is_noklands(h):
    wanted = nokland(np.eye(3)[LABELS])
    np.testing.assert_allclose(wanted[0, 1], -0.5)  # -1 / (classes - 1)
    found = loss_of(second_terms.similarity_matching(), h)
    np.testing.assert_allclose(found.mean(), np.mean((nokland(h) - wanted) ** 2), rtol=1e-4)
    term = second_terms.similarity_matching(head=True)
    head = np.asarray(term.init(jax.random.key(0), h.shape[1:]))
    if h.ndim == 2:
        mapped = h @ head
    else:
        padded = np.pad(h, [(0, 0), (1, 1), (1, 1), (0, 0)])
        mapped = sum(padded[:, i : i + 4, j : j + 3] @ head[i, j] for i, j in np.ndindex(3, 3))
    found = loss_of(term, h, jnp.asarray(head))
    np.testing.assert_allclose(found.mean(), np.mean((nokland(mapped) - wanted) ** 2), rtol=1e-3)


def test_pairs_by_hand():
    scaled = normalized(UNITS) * np.sqrt(8)
    term = second_terms.polarity_of_pairs(logit_scale=2.0, eps=0.1)
    found = loss_of(term, UNITS)
    for a in range(6):
        losses = {True: [], False: []}
        for b in set(range(6)) - {a}:
            activity = scaled[a] * scaled[b]
            logit = 2 * np.log((activity[:4].mean() + 0.1) / (activity[4:].mean() + 0.1))
            same = bool(LABELS[a] == LABELS[b])
            losses[same].append(np.log1p(np.exp(-logit if same else logit)))
        means = [np.mean(of_kind) if of_kind else 0 for of_kind in losses.values()]
        np.testing.assert_allclose(found[a], np.mean(means), rtol=1e-3)


def test_exchanged_halves_exchange_the_kinds_of_pair():
    """SFFA's symmetry: one class with P and N exchanged is two classes, each alone."""
    term = second_terms.polarity_of_pairs(eps=0.1)
    h = RNG.uniform(size=(2, 4, 3, 6)).astype(np.float32)
    one, two = jnp.array([0, 0]), jnp.array([0, 1])
    exchanged = np.concatenate([h[..., 3:], h[..., :3]], axis=-1)
    same, different = (
        np.asarray(term.loss(None, jnp.asarray(x), labels, 2))
        for x, labels in ((h, one), (exchanged, two))
    )
    np.testing.assert_allclose(same, different, rtol=1e-5)


@pytest.mark.parametrize("name", second_terms.SECOND_TERMS)
@pytest.mark.parametrize("shape", [(4,), (3, 3, 4)])
def test_slopes_are_finite_at_rest(name, shape):
    term = second_terms.SECOND_TERMS[name]()
    params = term.init(jax.random.key(0), shape)
    h = np.zeros((6, *shape), np.float32)
    slopes = jax.jit(jax.grad(lambda h: term.loss(params, h, jnp.asarray(LABELS), 3).sum()))(h)
    assert np.isfinite(slopes).all()


def test_a_label_in_the_input_allows_no_second_term():
    term = second_terms.similarity_matching()
    with pytest.raises(ValueError, match="must have class units, got a rule without. Use"):
        rules.with_second_term(rules.sffa(), term)
    rule = rules.with_class_units(rules.sffa(), class_units.learned())
    with pytest.raises(ValueError, match="no second term yet"):
        rules.with_second_term(rules.with_second_term(rule, term), term)
