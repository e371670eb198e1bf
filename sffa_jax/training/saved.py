"""Trained networks on disk: one file of arrays and JSON for any network and learner.

`save` writes a learner's state, the scale of its images and a description of how the learner was
built; `load` builds the learner again and predicts from raw images. A file contains no code: the
description names functions of this library, of JAX and of Flax, and `load` accepts only the names
listed in `_ALLOWED`. Custom functions cannot be described; pass the learner to `load` then.
"""

import dataclasses
import errno
import importlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int

from sffa_jax.checks import reject
from sffa_jax.core.image_layout import Grid
from sffa_jax.core.layer import Layer
from sffa_jax.core.network import Network
from sffa_jax.core.rules import LocalRule
from sffa_jax.training.evaluate import predict
from sffa_jax.training.learner import Learner, State
from sffa_jax.training.samples import Samples
from sffa_jax.training.update_order import UpdateOrder

VERSION = 2
"""Version of the file's layout; files of another version are not read."""

_ALLOWED: dict[str, tuple[str, ...]] = {
    "jax.nn": (
        *("relu", "relu6", "sigmoid", "log_sigmoid", "softplus", "silu", "swish", "gelu", "elu"),
        *("selu", "celu", "leaky_relu", "soft_sign", "hard_tanh", "tanh", "identity"),
    ),
    "jax.numpy": ("tanh", "abs", "square", "bfloat16", "float16", "float32", "float64"),
    "sffa_jax.core.class_units": ("_make_groups", "_make_learned"),
    "sffa_jax.core.conv_cpu": ("convolve",),
    "sffa_jax.core.goodness": ("energy", "polar_ratio"),
    "sffa_jax.core.losses": (
        *("binary_cross_entropy", "softmax_cross_entropy", "symba", "activity_factor"),
    ),
    "sffa_jax.core.negatives": ("uniform", "hard", "every"),
    "sffa_jax.core.overlays": (
        *("_draw_corner_one_hot", "_draw_appended_pattern", "_draw_appended_gaussian"),
        *("_draw_image_wave", "_draw_none"),
    ),
    "sffa_jax.core.rules": ("_clipped", "identity", "unit_length", "unit_length_halves"),
    "sffa_jax.training.backprop": ("backprop_learner",),
    "sffa_jax.training.local": ("local_learner",),
    "sffa_jax.training.update_order": (
        *("simultaneous", "sequential", "_update_greedily", "_started"),
    ),
}
"""Functions and types that a description may name, by module."""

_RECORDS: dict[str, Any] = {
    record.__name__: record for record in (Grid, Layer, LocalRule, Network, UpdateOrder)
}
_BODIES: dict[str, Any] = {
    body.__name__: body for body in (nn.Dense, nn.Conv, nn.BatchNorm, nn.GroupNorm)
}
_NO_DATA = ("parent", "name", "kernel_init", "bias_init", "scale_init")
"""Fields of a Flax module that its trained parameters do not depend on."""


class _Undescribed(Exception):
    """A value that cannot be described."""


class Saved(NamedTuple):
    """A trained network, ready to predict.

    Attributes:
      learner: the trained learner. Without a learner passed to `load`, its optimizer is
        `optax.identity()`, which predicts but does not learn.
      state: the learner's state; optimizer states only if a learner was passed to `load`.
      mean, std: scale of the images, as in `Samples`.
      pixels: whether the network was trained on uint8 pixels, not on floats.
      num_features: pixels of one image, all channels.
      info: the JSON that was saved with it.
    """

    learner: Learner
    state: State
    mean: Array
    std: Array
    pixels: bool
    num_features: int
    info: dict[str, Any]

    def scaled_images(self, images: Any) -> Float[Array, "samples features"]:
        """Scales raw images like the training images; see `Samples.scaled_images`."""
        dtype = jnp.uint8 if self.pixels else jnp.float32
        empty = jnp.zeros((0, self.num_features), dtype)
        labels = jnp.zeros(0, jnp.int32)
        samples = Samples(empty, labels, self.mean, self.std, self.learner.num_classes)
        return samples.scaled_images(images)

    def predict(self, images: Any) -> Int[np.ndarray, " samples"]:
        """Predicts the label of each raw image; see `Samples.scaled_images` for what is accepted.

        Raises:
          TypeError: for what is no array of numbers, or pixels if it was trained on floats.
          ValueError: for images of another number of pixels.
        """
        return np.asarray(predict(self.learner, self.state, self.scaled_images(images)))


def save(
    path: Path | str,
    learner: Learner,
    state: State,
    samples: Samples,
    *,
    info: Mapping[str, Any] | None = None,
) -> None:
    """Saves a trained network to one file; replaces an existing file atomically.

    Args:
      path: the file.
      learner: the trained learner.
      state: its state, e.g. `FitResult.state`.
      samples: the training samples, whose scale of pixels is saved.
      info: JSON to save with it.

    Raises:
      OSError: if the disk is full or cannot be written; an existing file is then untouched.

    >>> import tempfile
    >>> from sffa_jax.core.architectures import dense_layers
    >>> from sffa_jax.training.backprop import backprop_learner
    >>> from sffa_jax.training.samples import make_samples
    >>> images = np.zeros((8, 2, 2), np.uint8)
    >>> train = make_samples(images, np.arange(8) % 2, mean=0.0, std=1.0)
    >>> learner = backprop_learner(dense_layers([4]), 2, optax.adam(1e-3))
    >>> state = learner.init(jax.random.key(0), train.scaled(train.images))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/network", learner, state, train)
    ...     load(f"{folder}/network").predict(images).shape
    (8,)
    """
    final = Path(path).resolve()
    try:
        description = None if learner.build is None else _describe(learner.build)
        undescribed = "the learner" if learner.build is None else None
    except _Undescribed as error:
        description, undescribed = None, str(error)
    header = {
        "version": VERSION,
        "learner": description,
        "undescribed": undescribed,
        "num_features": samples.images.shape[-1],
        "pixels": samples.images.dtype == jnp.uint8,
        "info": dict(info or {}),
    }
    arrays = {f"state{name}": np.asarray(_plain(leaf)) for name, leaf in _leaves(state)}
    arrays |= {"mean": np.asarray(samples.mean), "std": np.asarray(samples.std)}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    new = final.with_name(f".{final.name}.new")
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        with new.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, final)
    except OSError as error:
        if error.errno is not None and error.errno != errno.ENOENT:
            new.unlink(missing_ok=True)
        raise


def load(path: Path | str, *, learner: Learner | None = None) -> Saved:
    """Loads a network that `save` wrote, under either float width.

    Args:
      path: the file.
      learner: a learner built like the saved one. It restores custom functions and the optimizer
        state, so that training can continue; None builds the learner from the file.

    Raises:
      ValueError: if there is no such file, it is damaged or of another version, it uses custom
        functions and no learner is passed, or the learner differs from the saved one.

    >>> load("nothing")
    Traceback (most recent call last):
    ...
    ValueError: load: `path` must be a file that `save` wrote, got 'nothing'.
    """
    try:
        content = io.BytesIO(Path(path).read_bytes())
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        version, mean, std = header["version"], arrays.pop("mean"), arrays.pop("std")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise reject("load", "path", "be a file that `save` wrote", repr(str(path))) from error
    if version != VERSION:
        raise reject("load", "path", f"have version {VERSION}", version)
    if learner is None:
        if header["learner"] is None:
            raise reject(
                "load", "learner", f"be given, since {header['undescribed']} is not described", None
            )
        learner = _build(header["learner"])(optimizer=optax.identity())
    state = _restore_state(learner, header["num_features"], arrays)
    scale = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    pixels = header.get("pixels", True)
    return Saved(learner, state, *scale, pixels, header["num_features"], header["info"])


def _leaves(tree: State) -> list[tuple[str, Any]]:
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in paths]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> Any:
    """Converts random keys to integers."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _restore_state(learner: Learner, num_features: int, arrays: Mapping[str, np.ndarray]) -> State:
    """The state of `learner.init` with the saved arrays in place of the drawn ones."""
    traced = {}

    def draw(key: Array, x: Array) -> list[Array]:
        state = learner.init(key, x)
        traced["names"] = [f"state{name}" for name, _ in _leaves(state)]
        traced["structure"] = jax.tree.structure(state)
        leaves: list[Array] = jax.tree.leaves(state)
        return leaves

    likes = jax.eval_shape(draw, jax.random.key(0), jnp.zeros((1, num_features)))
    names: Any = traced["names"]
    leaves = [_restore(arrays, name, like) for name, like in zip(names, likes, strict=True)]
    return jax.tree.unflatten(traced["structure"], leaves)


def _restore(arrays: Mapping[str, np.ndarray], name: str, like: Any) -> Array:
    array = arrays.get(name)
    shape = jax.eval_shape(_plain, like).shape
    if array is None or array.shape != shape:
        got = "no such array" if array is None else f"shape {array.shape}"
        raise reject("load", "learner", f"be the saved one, with {name} of shape {shape}", got)
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(array))
    return jnp.asarray(array, like.dtype)


def _names() -> dict[int, str]:
    """Name of each allowed function, by identity."""
    return {
        id(getattr(importlib.import_module(module), name)): f"{module}:{name}"
        for module, names in _ALLOWED.items()
        for name in names
        if hasattr(importlib.import_module(module), name)
    }


def _describe(value: Any) -> Any:
    """Returns JSON for a value that consists of allowed functions, records and plain values."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic | jax.Array) and value.shape == ():
        return value.item()
    name = _names().get(id(value))
    if name is not None:
        return {"function": name}
    if isinstance(value, partial):
        arguments = [_describe(argument) for argument in value.args]
        keywords = {key: _describe(of_key) for key, of_key in value.keywords.items()}
        return {"partial": _describe(value.func), "arguments": arguments, "keywords": keywords}
    if type(value).__name__ in _RECORDS and type(value) is _RECORDS[type(value).__name__]:
        names = getattr(value, "_fields", None) or [f.name for f in dataclasses.fields(value)]
        fields = {field: _describe(getattr(value, field)) for field in names}
        return {"record": type(value).__name__, "fields": fields}
    if type(value) in _BODIES.values():
        fields = {
            field.name: _describe(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.name not in _NO_DATA
            and getattr(value, field.name) is not field.default
            and getattr(value, field.name) != field.default
        }
        return {"body": type(value).__name__, "fields": fields}
    if isinstance(value, tuple | list):
        return [_describe(item) for item in value]
    raise _Undescribed(repr(value))


def _build(description: Any) -> Any:
    """Rebuilds a value from its description; looks up allowed names only."""
    if isinstance(description, list):
        return tuple(_build(item) for item in description)
    if not isinstance(description, dict):
        return description
    if "function" in description:
        module, _, name = str(description["function"]).partition(":")
        if name not in _ALLOWED.get(module, ()):
            raise reject("load", "path", "name known functions only", description["function"])
        return getattr(importlib.import_module(module), name)
    if "partial" in description:
        arguments = [_build(argument) for argument in description["arguments"]]
        keywords = {key: _build(value) for key, value in description["keywords"].items()}
        return partial(_build(description["partial"]), *arguments, **keywords)
    fields = {key: _build(value) for key, value in description["fields"].items()}
    table, name = (
        (_RECORDS, description["record"])
        if "record" in description
        else (_BODIES, description["body"])
    )
    if name not in table:
        raise reject("load", "path", "name known types only", name)
    return table[name](**fields)
