"""Trained networks on disk: one file of arrays and JSON for any network and learner.

`save` writes a learner's state, the scale of its images and a description of how the learner was
built; `load` builds the learner again and predicts from raw images. A file contains no code: the
description names functions of this library, of JAX and of Flax, and `load` accepts only the names
listed in `descriptions`. Custom functions cannot be described; pass the learner to `load` then.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from sffa_jax.checks import reject, reject_type
from sffa_jax.data.arrays import to_images
from sffa_jax.training.descriptions import Undescribed, agree, build, describe
from sffa_jax.training.evaluate import EVALUATION_CHUNK, filled_rows, score_images
from sffa_jax.training.learner import Learner, State, check_learner
from sffa_jax.training.samples import Samples, check_samples

VERSION = 2
"""Version of the file's layout; files of another version are not read."""


class Saved(NamedTuple):
    """A trained network, ready to predict.

    Attributes:
      learner: the trained learner. Without a learner passed to `load`, it has no optimizer: it
        predicts, and training raises an error.
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
        return self._empty().scaled_images(images)

    def _empty(self) -> Samples:
        """Samples without images, which hold the scale."""
        empty = jnp.zeros((0, self.num_features), jnp.uint8 if self.pixels else jnp.float32)
        labels = jnp.zeros(0, jnp.int32)
        return Samples(empty, labels, self.mean, self.std, self.learner.num_classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, if `info` has them; else their numbers."""
        names = self.info.get("class_names") or map(str, range(self.learner.num_classes))
        return tuple(map(str, names))

    def predict(self, images: Any) -> Int[np.ndarray, " samples"]:
        """Predicts the label of each raw image; see `Samples.scaled_images` for what is accepted.

        Raises:
          TypeError: for what is no array of numbers, or pixels if it was trained on floats.
          ValueError: for images of another number of pixels.
        """
        summed, number = self._summed(images)
        return np.asarray(jnp.argmax(summed, axis=-1))[:number]

    def predict_proba(self, images: Any) -> Float[np.ndarray, "samples classes"]:
        """Returns the probability of each label: the softmax of the layers' summed scores.

        Raises:
          TypeError, ValueError: as in `predict`.
        """
        summed, number = self._summed(images)
        return np.asarray(jax.nn.softmax(summed, axis=-1))[:number]

    def scores(self, images: Any) -> Float[np.ndarray, "layers samples classes"]:
        """Returns the contribution of each layer to the score of each label.

        Raises:
          TypeError, ValueError: as in `predict`.
        """
        scores, number = self._padded_scores(images)
        return np.asarray(scores)[:, :number]

    def latents(self, images: Any) -> list[Float[np.ndarray, "samples units"]]:
        """Returns the activity of each hidden layer under the predicted label.

        Raises:
          TypeError, ValueError: as in `predict`, or for a learner without latents.
        """
        if self.learner.latents is None:
            raise reject("latents", "learner", "define `latents`", "a learner without")
        x, of_layers = self.scaled_images(images), jax.jit(self.learner.latents)
        parts = [
            of_layers(self.state, x[start : start + EVALUATION_CHUNK])
            for start in range(0, len(x), EVALUATION_CHUNK)
        ]
        return [np.concatenate(layer) for layer in zip(*parts, strict=True)]

    def export(self, path: Path | str) -> None:
        """Writes the network as one program that needs JAX, but not this library.

        `jax.export.deserialize(Path(path).read_bytes()).call(rows)` returns the labels [samples]
        and the probabilities [samples, classes] of raw rows [samples, features], of the training
        images' type (uint8 or float32), for any number of samples, all in memory at once. The
        program runs on the platform that wrote it: a CPU or a GPU.

        Args:
          path: the file; an existing one is replaced.

        Raises:
          OSError: if the disk is full or cannot be written.
        """
        # Imported here: only this method needs it.
        from jax import export

        def program(rows: Array) -> tuple[Array, Array]:
            samples = self._empty()
            scores = self.learner.scores(self.state, samples.scaled(rows))
            summed = jnp.sum(scores[self.learner.scored], axis=0)
            return jnp.argmax(summed, axis=-1).astype(jnp.int32), jax.nn.softmax(summed)

        shape = export.symbolic_shape(f"samples, {self.num_features}")
        dtype = jnp.uint8 if self.pixels else jnp.float32
        exported = export.export(jax.jit(program))(jax.ShapeDtypeStruct(shape, dtype))
        write_file(path, lambda file: file.write(exported.serialize()))

    def _padded_scores(self, images: Any) -> tuple[Float[Array, "layers padded classes"], int]:
        """Scores of the images and of copies that fill up their number, and that number."""
        array = to_images(images, where="scaled_images")
        filled = self.scaled_images(array[filled_rows(len(array))])
        return score_images(self.learner, self.state, filled), len(array)

    def _summed(self, images: Any) -> tuple[Float[Array, "padded classes"], int]:
        scores, number = self._padded_scores(images)
        return jnp.sum(scores[self.learner.scored], axis=0), number


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
      samples: the training samples, whose scale of pixels is saved; `samples.first()` of streamed
        ones.
      info: JSON to save with it; `load` reads the names of the classes from `class_names` in it.

    Raises:
      TypeError: for anything but a learner, `Samples` and JSON.
      ValueError: if `load` could not restore this state: it is not the learner's.
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
    check_learner("save", learner)
    check_samples("save", samples, learner.num_classes)
    _check_state(learner, state, samples.images.shape[-1])
    try:
        description = None if learner.build is None else describe(learner.build)
        undescribed = "the learner" if learner.build is None else None
    except Undescribed as error:
        description, undescribed = None, str(error)
    header = {
        "version": VERSION,
        "learner": description,
        "undescribed": undescribed,
        "num_features": samples.images.shape[-1],
        "pixels": samples.images.dtype == jnp.uint8,
        "info": dict(info or {}),
    }
    try:
        text = json.dumps(header)
    except TypeError as error:
        raise reject_type(
            "save", "info", "be JSON", error, "Convert arrays by `.tolist()`."
        ) from None
    arrays = {name: _to_numpy(leaf) for name, leaf in _leaves(state)}
    arrays |= {"mean": np.asarray(samples.mean), "std": np.asarray(samples.std)}
    arrays["header"] = np.frombuffer(text.encode(), np.uint8)
    write_file(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def write_file(path: Path | str, write: Callable[[Any], Any]) -> None:
    """Writes a file atomically; an existing one is untouched if this fails or is interrupted.

    Raises:
      OSError: if the disk is full or cannot be written.
    """
    final = Path(path).resolve()
    new = final.with_name(f".{final.name}.new")
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        with new.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, final)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def load(path: Path | str, *, learner: Learner | None = None) -> Saved:
    """Loads a network that `save` wrote, under either float width.

    Args:
      path: the file; or a folder with one network, or with one in its sub-folder `networks`, where
        `experiments.compare --save-networks` writes them.
      learner: a learner built like the saved one. It restores custom functions and the optimizer
        state, so that training can continue; None builds the learner from the file.

    Raises:
      TypeError: for a learner of another type.
      ValueError: if there is no such file, the folder has none or several, the file is damaged or
        of another version, it uses custom functions and no learner is passed, or the learner
        differs from the saved one.

    >>> load("nothing")
    Traceback (most recent call last):
    ...
    ValueError: load: `path` must be a file that `save` wrote, got 'nothing', which does not exist.
    """
    if learner is not None:
        check_learner("load", learner)
    path = _network_file(Path(path))
    try:
        content = io.BytesIO(path.read_bytes())
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        version, mean, std = header["version"], arrays.pop("mean"), arrays.pop("std")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        got = f"{str(path)!r}, which does not exist" if not path.exists() else repr(str(path))
        raise reject("load", "path", "be a file that `save` wrote", got) from error
    if version != VERSION:
        raise reject("load", "path", f"have version {VERSION}", version)
    if learner is None:
        if header["learner"] is None:
            raise reject(
                "load", "learner", f"be given, since {header['undescribed']} is not described", None
            )
        try:
            learner = build(header["learner"])(optimizer=_NO_OPTIMIZER)
        except (AttributeError, KeyError, TypeError) as error:
            rule = "contain an undamaged description of the network"
            raise reject("load", "path", rule, repr(str(path))) from error
    elif not _may_be(learner, header["learner"]):
        advice = "Leave it out to build the saved one."
        raise reject("load", "learner", "be built like the saved one", "another", advice)
    state = _restore_state(learner, header["num_features"], arrays)
    scale = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
    return Saved(learner, state, *scale, header["pixels"], header["num_features"], header["info"])


def _network_file(path: Path) -> Path:
    """The network's file: `path`, or the only one in it or in its sub-folder `networks`."""
    if not path.is_dir():
        return path
    files = sorted((path / "networks").glob("*.npz")) or sorted(path.glob("*.npz"))
    if len(files) != 1:
        names = ", ".join(str(file.relative_to(path)) for file in files[:5]) or "none"
        more = f" and {len(files) - 5} more" if len(files) > 5 else ""
        raise reject("load", "path", f"contain one network: {path}", f"{names}{more}")
    return files[0]


def _check_state(learner: Learner, state: State, num_features: int) -> None:
    """Raises ValueError unless the state has every array that `load` restores."""
    given = {name: jnp.shape(_plain(leaf)) for name, leaf in _leaves(state)}
    for name, like, _ in _drawn(learner, num_features)[0]:
        if given.get(name) != like.shape:
            got = "none" if name not in given else f"shape {given[name]}"
            rule = f"be a state of `learner`, with {name} of shape {like.shape}"
            raise reject("save", "state", rule, got, "`fit(...).state` is one.")


def _leaves(state: State) -> list[tuple[str, Any]]:
    """Each array of a state, and its name in the file."""
    paths = jax.tree_util.tree_leaves_with_path(state)
    return [(f"state{jax.tree_util.keystr(path)}", leaf) for path, leaf in paths]


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _to_numpy(leaf: Any) -> np.ndarray:
    """Converts a leaf for a file; NumPy's have no bfloat16, float8 or int4, which float32 holds."""
    plain = jnp.asarray(_plain(leaf))
    return np.asarray(plain.astype(jnp.float32) if plain.dtype.kind == "V" else plain)


def _plain(leaf: Any) -> Any:
    """Converts random keys to integers."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _no_update(*_: Any, **__: Any) -> Any:
    rule = "be passed to continue training"
    advice = "Pass a learner built like the saved one: its optimizer is not in the file."
    raise reject("load", "learner", rule, None, advice)


_NO_OPTIMIZER = optax.GradientTransformation(lambda _: optax.EmptyState(), _no_update)


def _may_be(learner: Learner, description: Any) -> bool:
    """Whether a learner may be the described one: false if it is certainly another one."""
    if description is None or learner.build is None:
        return True
    given = describe(learner.build, strict=False)
    return agree(json.loads(json.dumps(given)), description)


def _drawn(
    learner: Learner, num_features: int
) -> tuple[list[tuple[str, jax.ShapeDtypeStruct, Any]], Any]:
    """What `learner.init` returns, without its values.

    Returns:
      Each array's name, its shape and dtype (of random keys, those of their integers) and the
      generator of random keys (None: no keys); and the structure of the state.
    """
    names, impls, structures = [], [], []

    def draw(key: Array, x: Array) -> list[Array]:
        state = learner.init(key, x)
        structures.append(jax.tree.structure(state))
        for name, leaf in _leaves(state):
            names.append(name)
            impls.append(jax.random.key_impl(leaf) if _is_key(leaf) else None)
        return [_plain(leaf) for _, leaf in _leaves(state)]

    likes = jax.eval_shape(draw, jax.random.key(0), jnp.zeros((1, num_features)))
    return list(zip(names, likes, impls, strict=True)), structures[0]


def _restore_state(learner: Learner, num_features: int, arrays: Mapping[str, np.ndarray]) -> State:
    """The state of `learner.init` with the saved arrays in place of the drawn ones."""
    drawn, structure = _drawn(learner, num_features)
    leaves = []
    for name, like, impl in drawn:
        array = arrays.get(name)
        if array is None or array.shape != like.shape:
            got = "no such array" if array is None else f"shape {array.shape}"
            rule = f"be the saved one, with {name} of shape {like.shape}"
            raise reject("load", "learner", rule, got)
        leaf = jnp.asarray(array, like.dtype)
        leaves.append(leaf if impl is None else jax.random.wrap_key_data(leaf, impl=impl))
    return jax.tree.unflatten(structure, leaves)
