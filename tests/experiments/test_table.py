"""A table of 50 features, from a CSV file by way of an archive: SFFA beside scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from commands import read, run_command
from sklearn.datasets import make_classification
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from sffa_jax import data

SEEDS = 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_sffa_is_within_a_point_of_scikit_learns_network(tmp_path):
    features, kinds = make_classification(
        3000, 50, n_informative=20, n_redundant=10, n_classes=4, class_sep=1.5, random_state=0
    )
    table = pd.DataFrame(features).assign(kind=np.array(["a", "b", "c", "d"])[kinds])
    table.to_csv(tmp_path / "table.csv", index=False)
    table = pd.read_csv(tmp_path / "table.csv")
    np.savez(
        tmp_path / "table.npz",
        features=table.drop(columns="kind"),
        labels=table["kind"].to_numpy(str),
    )
    name = f"npz:{tmp_path / 'table.npz'}"
    words = ["--hidden", "200", "--epochs", "30", "--batch-size", "64", "--seeds", str(SEEDS)]
    words += ["--algorithms", "sffa", "--parallel", "map", "--dataset", name]
    run = run_command("compare", *words, "--out", tmp_path / "out")
    assert run.status == 0, run.err
    sffa = np.mean([record["test_accuracy"] for record in read(tmp_path / "out")])
    dataset = data.load(name)
    scale = StandardScaler().fit(dataset.train_images)
    train, test = map(scale.transform, (dataset.train_images, dataset.test_images))
    networks = (
        MLPClassifier((200,), max_iter=30, batch_size=64, early_stopping=True, random_state=seed)
        for seed in range(SEEDS)
    )
    other = np.mean(
        [
            network.fit(train, dataset.train_labels).score(test, dataset.test_labels)
            for network in networks
        ]
    )
    print(f"SFFA {sffa:.4f}, MLPClassifier {other:.4f}")
    assert other > 0.8
    assert sffa > other - 0.01
