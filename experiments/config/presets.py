"""Presets of the recipe: the released protocols, the paper's, and the project's own.

`released` follows the code that the paper's authors released, github.com/erikberter/SFFA_CoLLAS at
e04cccd ([C] below: `train.py` and `ff_mod/`), on top of their paper ([P]: Terres-Escudero et al.
2024, arXiv:2409.07387).
"""

import dataclasses
from typing import Any

from experiments.config.recipe import Recipe

RELEASED = Recipe(
    hidden=(1400,),  # [C] train.py: neurons_per_layer 1400, num_layers 1
    activation="relu",  # [C] base_network.py, double_network.py
    initializer="torch",  # [C]: torch.nn.Linear's default
    winners=15,  # [C] double_network.py: topk(…, 15) of each half
    ffa_winners=None,  # [C] base_network.py: none
    overlay="appended_pattern",  # [C] overlay.py AppendToEndOverlay
    overlay_size=100,  # [C] train.py: pattern_size
    overlay_density=0.1,  # [C] train.py: p
    overlay_value=1.0,  # [C] overlay.py
    input_skip=True,  # [C] train.py: residual_connections (no effect with one layer)
    normalize=None,  # [P]: each half by its own length (FFA: the whole); [C] slices another axis
    logit_scale=1.0,  # [P] equation of g; [C] double_network.py
    eps=1e-9,  # [P], [C]
    measure="mean_square",  # [C] get_goodness: means of the halves, the scale of eps
    ffa_threshold=2.0,  # [C] base_network.py: sigmoid(goodness - 2)
    ffa_logit_scale=1.0,  # [C] the same line
    ffa_measure="mean_square",  # [C] the same file
    negatives="uniform",  # [C] trainer.py: a random wrong label (greedy_goodness False)
    loss="bce",  # [C] loss.py ProbabilityBCELoss
    activity_rate=10.0,  # [C] loss.py: 1 + exp(-10 (mean + mean))
    clip=1e-4,  # [C] get_goodness: clamp(1e-4, 1 - 1e-4)
    score="probability",  # [C] predict: goodness, a probability, summed over layers
    update_order="sequential",  # [C] train_network: the next layer sees the updated activity
    epochs=100,  # [C] train.py
    batch_size=512,  # [C] train.py
    learning_rate=1e-4,  # [C] train.py
    lr_schedule="constant",  # [C]: plain Adam
    selection="test",  # [C] best_model_saver.py: best epoch on the test set. It leaks.
    scaling="mnist",  # [C] dataloader: mean .1307 and std .3081 for every set
)

# A reconstruction of the settings behind the paper's accuracies, which it does not give. `released`
# trains FFA: [C] train.py, network_type "ANN". SFFA's layer in [C] has a sigmoid beside its ReLU,
# and its continual learning uses the sigmoid and this rate. FFA and backprop keep `released`'s.
PAPER = dataclasses.replace(
    RELEASED,
    activation="sigmoid",  # [C] double_network.py, commented out; networks_cl/network/ff_network.py
    learning_rate=1e-3,  # [C] continual.py
    # [C] overlay.py's default, used in continual.py. On held-out images of Fashion-MNIST (mean of
    # the last 5 of 15 epochs, two seeds): 87.6 %, with 0.1 87.3 %.
    overlay_density=0.2,
    selection="last",  # trains on all images, as [C] does, and leaves the test set alone
    scaling="training",  # the same number for MNIST, the set's own for the others
)

# SFFA's rule with the settings of the authors' next paper, whose repository holds the accuracy of
# each: Terres-Escudero et al. 2024, arXiv:2408.09210, github.com/erikberter/PolarFFA at 7cb7281,
# `code/launch_experiments.py`, goodness L2M_TK15_Split with SymmetricFFAProbability, and L2M with
# SigmoidProbability for FFA.
POLAR_FFA = dataclasses.replace(
    RELEASED,
    hidden=(1000, 1000),  # DIM, two layers
    activation="sigmoid",  # best of ReLU, sigmoid and tanh
    pass_winners_only=False,  # goodness.py: top-k of a copy; the layer above sees all units
    input_skip=False,  # FFANetwork's default
    normalize="euclidean_halves",  # goodness.py, normalize
    eps=1e-6,  # probability.py
    activity_rate=None,  # loss.py: none
    clip=1e-5,  # loss.py
    epochs=50,
    learning_rate=1e-3,
)

# One random wrong label per image. The defaults of `Recipe` were chosen on MNIST's validation
# split: logit_scale, eps and overlay for SFFA and ffa_threshold and ffa_logit_scale for FFA by
# search; the rest by hand, for SFFA. Nothing was chosen for backprop.
DEFAULT = Recipe()

# All wrong labels, softmax over candidates. Chosen on the validation splits of MNIST and
# Fashion-MNIST for SFFA, two to four seeds each; `experiments.ablation` measures each change.
BEST = dataclasses.replace(
    DEFAULT,
    hidden=(4000,),  # wider than 1400: +0.1
    negatives="all",  # in a linear first layer they cost no product
    loss="softmax",  # over the labels' logits, separately in each layer
    eps=1e-6,  # under softmax any small eps works
    epochs=60,
    batch_size=256,
    input_dropout=0.3,  # Fashion-MNIST: 0.15
    adversarial=2.0,  # of a digit's length of about 28; Fashion-MNIST: none
    selection="last",  # settings are fixed: train on all images
)

# The released code's convolutional network under its classification protocol.
RELEASED_CONVOLUTION = dataclasses.replace(
    RELEASED,
    channels=(64, 128),  # [C] ff_mod's convolutional network
    hidden=(),
    kernel=7,
    stride=2,
    padding="VALID",
    pool=None,
    winners=None,  # [C]: no top-k under convolutions
    overlay="image_wave",  # [C] overlay.py: a label is a wave over the whole image
    wave=(0.035, 0.35),  # [C] continual_conv.py
    input_skip=False,
)

# The input contains no label: each class learns the polarity of every unit. A label in the image
# does not suit a first layer of small kernels, which see only a few pixels of it. Chosen on
# held-out training images of MNIST and Fashion-MNIST, for SFFA.
BEST_CONVOLUTION = dataclasses.replace(
    DEFAULT,
    channels=(32, 64, 128),
    hidden=(),
    overlay="none",
    class_units="learned",
    normalize="whole",  # no common halves: every class has its own
    logit_scale=12.0,
    eps=1e-3,  # in units of a mean, not of a sum, of squares
    negatives="all",
    loss="softmax",
    label_smoothing=0.1,
    first_scored=1,  # the first layer sees 3 x 3 pixels
    epochs=10,
    learning_rate=1e-2,
    selection="last",  # settings are fixed: train on all images
)

# Six convolutions, each trained by itself: the network that others call vgg8b (Nokland and Eidnes
# 2019, arXiv:1901.06656). Learned polarity over squares that are averaged to few places, sharp
# logits. Found on CIFAR-10 in probes of 30 epochs, for SFFA; 200 epochs and cutout are theirs. Fast
# polarities, and no dropout, in small networks (docs/record_settings.md).
DEEP_CONVOLUTION = dataclasses.replace(
    BEST_CONVOLUTION,
    channels=(128, 256, 256, 512, 512, 512),
    pooled=(1, 3, 4, 5),
    normalization="batch",
    places=8192,
    polarity_rate=8.0,
    logit_scale=40.0,
    first_scored=5,  # the last layer alone
    epochs=200,
    batch_size=256,
    learning_rate=2e-3,
    lr_schedule="one_cycle",
    weight_average=0.999,
    precision="bfloat16",
    shift=4,
    edges="reflect",
    flip=True,
    cutout=8,
)

OWN_VALUES: dict[str, dict[str, dict[str, Any]]] = {
    # FFA's threshold of 2 is out of reach of a mean of squares of sigmoids.
    "paper": {
        "ffa": {"activation": "relu", "learning_rate": 1e-4, "overlay_density": 0.1},
        "bp": {"activation": "relu", "learning_rate": 1e-4},
    },
    # At 1e-2, one of three seeds of backprop did not learn. On 1000 held-out images of MNIST (4
    # epochs on 11 000, three seeds): 98.4 % at 1e-3, 98.7 % at 3e-3.
    "best_convolution": {"bp": {"learning_rate": 3e-3}},
}
"""Values that a preset has for one algorithm only, by preset and algorithm."""

PRESETS = {
    "paper": PAPER,
    "released": RELEASED,
    "polar_ffa": POLAR_FFA,
    "default": DEFAULT,
    "best": BEST,
    "released_convolution": RELEASED_CONVOLUTION,
    "best_convolution": BEST_CONVOLUTION,
    "deep_convolution": DEEP_CONVOLUTION,
}
