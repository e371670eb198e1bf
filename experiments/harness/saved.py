"""Trained networks on disk."""

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt8

from experiments.config.recipe import Recipe
from sffa_jax.checks import check_choice, reject
from sffa_jax.core.network import Network
from sffa_jax.scale.checkpoints import read_arrays, read_manifest, write_folder
from sffa_jax.training.evaluate import score_samples
from sffa_jax.training.learner import Learner, State
from sffa_jax.training.samples import Samples, make_samples


@dataclass(frozen=True)
class Trained:
    """A trained network with all that made it, ready to predict.

    Attributes:
      recipe: every choice of its training.
      algorithm: "ffa", "sffa" or "bp".
      shape: of one image.
      num_classes: number of labels.
      num_samples: training images, which the learning rate's decay depends on.
      mean, std: as in `Samples`.
      state: the learner's, optimizer states included.
    """

    recipe: Recipe
    algorithm: str
    shape: tuple[int, ...]
    num_classes: int
    num_samples: int
    mean: Array
    std: Array
    state: State

    @property
    def learner(self) -> Learner:
        """What it was trained by; it can go on from `state`."""
        return self.recipe.learner(self.algorithm, self.shape, self.num_classes, self.num_samples)

    @property
    def network(self) -> Network:
        """The forward-only network; its parameters are `state.params`.

        Raises:
          ValueError: if it was trained by backpropagation.
        """
        check_choice("Trained.network", "algorithm", self.algorithm, ("ffa", "sffa"))
        return self.recipe.network(self.algorithm, self.shape, self.num_classes)

    def predict(self, images: UInt8[np.ndarray, "samples *shape"]) -> Int[np.ndarray, " samples"]:
        """The label of each image, pixels 0..255.

        Raises:
          TypeError: if the images are not uint8.
          ValueError: for images of another shape.
        """
        if images.shape[1:] != self.shape:
            raise reject("predict", "images", f"be of shape {self.shape} each", images.shape[1:])
        samples = make_samples(
            images, np.zeros(len(images), np.int32), num_classes=self.num_classes, mean=0.0, std=1.0
        ).replace(mean=jnp.asarray(self.mean), std=jnp.asarray(self.std))
        learner = self.learner

        def labels(state: State, samples: Samples) -> Array:
            scores = score_samples(learner, state, samples)[learner.first_scored :]
            return jnp.argmax(jnp.sum(scores, axis=0), axis=-1)

        return np.asarray(jax.jit(labels)(self.state, samples))


def save(path: Path | str, trained: Trained) -> None:
    """Saves a trained network into a folder of its own; what is there is replaced.

    Raises:
      OSError: if the disk is full or cannot be written; what was there is then untouched.
    """
    final = Path(path).resolve()
    info = {name: getattr(trained, name) for name in ("algorithm", "num_classes", "num_samples")}
    info |= {"recipe": asdict(trained.recipe), "shape": list(trained.shape)}
    # float32 goes through JSON unchanged.
    info |= {name: np.asarray(getattr(trained, name)).tolist() for name in ("mean", "std")}
    write_folder(final, trained.state, info)


def load(path: Path | str) -> Trained:
    """A network that `save` saved.

    Raises:
      ValueError: if there is none, or it is damaged.
    """
    folder = Path(path).resolve()
    manifest = read_manifest(folder)
    if manifest is None:
        raise reject(
            "load", "path", "be the folder of a saved network, whole and of this version", folder
        )
    info = dict(manifest["info"])
    choices: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in info.pop("recipe").items()
    }
    for name in choices:
        check_choice("load", "recipe", name, [field.name for field in fields(Recipe)])
    recipe, shape = Recipe(**choices), tuple(info.pop("shape"))
    blank = jnp.zeros((1, math.prod(shape)))
    learner = recipe.learner(info["algorithm"], shape, info["num_classes"], info["num_samples"])
    state = jax.jit(learner.init)(jax.random.key(0), blank)
    mean, std = (jnp.asarray(info.pop(name), jnp.float32) for name in ("mean", "std"))
    state = read_arrays(folder, manifest, state)
    return Trained(recipe, shape=shape, mean=mean, std=std, state=state, **info)
