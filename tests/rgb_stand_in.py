"""Color images in CIFAR-10's own byte format, made from what scikit-learn carries.

A stand-in, not CIFAR-10: a handwritten digit in a random color on a random piece of one of two
photographs. Its label is the digit.
"""

import numpy as np
from published_files import cifar_files, write_files
from sklearn.datasets import load_digits, load_sample_images

SIZE = 32
DIGIT = 24


def compose(rng, digit, photograph):
    """One image [32, 32, 3], uint8: the digit covers the photograph by as much as it is inked."""
    row, column = (rng.integers(length - SIZE) for length in photograph.shape[:2])
    ground = photograph[row : row + SIZE, column : column + SIZE].astype(np.float64)
    ink = np.zeros((SIZE, SIZE, 1))
    top, left = rng.integers(SIZE - DIGIT + 1, size=2)
    ink[top : top + DIGIT, left : left + DIGIT, 0] = np.kron(digit / 16, np.ones((3, 3)))
    # A color far from the ground's own: the digit can be read.
    color = np.where(ground.mean((0, 1)) > 128, rng.uniform(0, 60, 3), rng.uniform(195, 255, 3))
    return np.round(ground * (1 - ink) + color * ink).astype(np.uint8)


def write(folder, train=1000, test=400, seed=0):
    """Writes the six binary batches into `folder`/cifar10; `train` divides by 5."""
    rng = np.random.default_rng(seed)
    digits, photographs = load_digits(), load_sample_images().images
    order = rng.permutation(len(digits.target))[: train + test]
    images = np.stack([compose(rng, digits.images[i], photographs[rng.integers(2)]) for i in order])
    labels = digits.target[order]
    files = cifar_files(images[:train], labels[:train], images[train:], labels[train:])
    write_files(folder / "cifar10", files)
