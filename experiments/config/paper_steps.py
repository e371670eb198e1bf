"""The steps of `experiments.paper`: commands that together reproduce the paper's numbers."""

from typing import NamedTuple


class Step(NamedTuple):
    """Attributes: command: name and options of an experiment; quick: further options of --quick;
    None: --quick skips the step."""

    command: str
    quick: str | None = None


_FIT = "--epochs 1"
_MAPS = "--epochs 1 --channels 4 8 16 --seeds 1"
_TASKS = "--seeds 1 --epochs 0.25 --hidden 100 100"

STEPS: dict[str, Step] = {
    "compare/digits": Step("compare", "--epochs 5"),
    "compare/paper_mnist": Step("compare --dataset mnist --preset paper --algorithms sffa", _FIT),
    "compare/paper_fashion_mnist": Step(
        "compare --dataset fashion_mnist --preset paper --algorithms sffa"
    ),
    "compare/released_mnist": Step(
        "compare --dataset mnist --preset released --selection validation --scaling training", _FIT
    ),
    "compare/released_fashion_mnist": Step(
        "compare --dataset fashion_mnist --preset released --selection validation "
        "--scaling training"
    ),
    **{
        f"compare/polar_ffa_{data}_{activation}": Step(
            f"compare --dataset {data} --preset polar_ffa --activation {activation} "
            "--algorithms sffa"
        )
        for data in ("mnist", "fashion_mnist")
        for activation in ("relu", "sigmoid", "tanh")
    },
    "compare/mnist": Step("compare --dataset mnist --hidden 1400", _FIT),
    "compare/fashion_mnist": Step("compare --dataset fashion_mnist --hidden 1400"),
    "compare/best_mnist": Step("compare --dataset mnist --preset best", f"{_FIT} --hidden 400"),
    "compare/best_fashion_mnist": Step(
        "compare --dataset fashion_mnist --preset best --input-dropout 0.15 --adversarial None"
    ),
    "compare/convolution_mnist": Step("compare --dataset mnist --preset best_convolution", _MAPS),
    "compare/convolution_fashion_mnist": Step(
        "compare --dataset fashion_mnist --preset best_convolution"
    ),
    **{
        f"records/{row}": Step(f"records --dataset {data} --only {row} --algorithms sffa {more}")
        for row, data, more in (
            ("mnist_convolution", "mnist", ""),
            ("fashion_convolution", "fashion_mnist", ""),
            ("mnist_dense", "mnist", ""),
            ("fashion_dense", "fashion_mnist", ""),
            ("cifar10_dense", "cifar10", ""),
            ("cifar10_similarity_head", "cifar10", "--epochs 60"),
        )
    },
    "symmetry/mnist": Step(
        "symmetry --dataset mnist --epochs 5 --batch-size 256", "--epochs 1 --seeds 1 --no-sizes"
    ),
    "latents/mnist": Step(
        "latents --dataset mnist --hidden 1400 1400 --epochs 10",
        "--epochs 1 --hidden 100 100 --seeds 1 --probes 500 --embedded 100 --algorithms ffa sffa",
    ),
    "latents/fashion_mnist": Step("latents --dataset fashion_mnist --hidden 1400 1400 --epochs 10"),
    # 288 settings, one run each.
    "robustness/mnist": Step("robustness --dataset mnist --epochs 5 --batch-size 256 --seeds 1"),
    "continual/mnist": Step(
        "continual --dataset mnist --preset protocol", f"{_TASKS} --scenarios class"
    ),
    "continual/fashion_mnist": Step("continual --dataset fashion_mnist --preset protocol"),
    "continual/released_mnist": Step("continual --dataset mnist --preset released"),
    "continual/released_fashion_mnist": Step("continual --dataset fashion_mnist --preset released"),
    "continual/mnist_released": Step(
        "continual --dataset mnist --preset protocol --coupling released --scenarios class "
        "--strategies replay --algorithms sffa ffa",
        _TASKS,
    ),
    "continual/mnist_no_buffer": Step(
        "continual --dataset mnist --preset protocol --hidden 2000 --epochs 3 --batch-size 64 "
        "--scenarios class --algorithms sffa "
        "--strategies ncm slda class_subspaces slda_random slda_random_maps slda_maps",
        "--seeds 1 --epochs 0.25 --features 160",
    ),
    "continual/fashion_mnist_no_buffer": Step(
        "continual --dataset fashion_mnist --preset protocol --hidden 2000 --epochs 3 "
        "--batch-size 64 --scenarios class --algorithms sffa "
        "--strategies ncm slda class_subspaces slda_random slda_random_maps slda_maps"
    ),
    **{
        f"continual/{name}_activity_rehearsal": Step(
            f"continual --dataset {name} --preset maps --components 400 --learning-rate 3e-3 "
            f"--scenarios class --algorithms sffa {more} "
            "--strategies slda_components qda_components activity_rehearsal joint",
            "--seeds 1 --epochs 0.1 --features 64 --components 32 --hidden 64"
            if name == "mnist"
            else None,
        )
        for name, more in {
            "mnist": "--features 800",
            "fashion_mnist": "--features 800 --lr-schedule cosine",
            "cifar10": "--features 1600 --lr-schedule cosine --strength qda_components=9",
        }.items()
    },
    "continual/mnist_convolution": Step(
        "continual --dataset mnist --preset best_convolution --learning-rate 1e-2 "
        "--negatives all --scenarios class --strategies replay none --algorithms sffa"
    ),
    "continual/mnist_released_convolution": Step(
        "continual --dataset mnist --preset convolution --scenarios class --strategies replay none"
    ),
}
"""Steps by folder, in the order in which they run."""
