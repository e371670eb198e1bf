"""CIFAR-10's path from its files to results, on a stand-in in its own byte format."""

import pytest
import rgb_stand_in
from commands import read, run_command

from experiments import compare
from experiments.harness.experiment import execute


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("data")
    rgb_stand_in.write(made)
    return made


def made(name, folder, out, *arguments):
    """The records of a command on the stand-in, one seed."""
    said = ["--dataset", "cifar10", "--data-dir", str(folder), "--out", str(out), "--seeds", "1"]
    run = run_command(name, *said, *arguments)
    assert run.status == 0, run.err
    return read(out)


def test_fully_connected_layers(folder, tmp_path):
    found = made("compare", folder, tmp_path, "--hidden", "64", "--epochs", "2")
    assert {record["algorithm"] for record in found} == {"ffa", "sffa", "bp"}
    for record in found:
        assert record["history"]["loss"][1] < record["history"]["loss"][0]


@pytest.mark.slow
def test_convolutions_learn_to_read(folder, tmp_path):
    """The digit, whatever lies behind it: each layer better than the one below."""
    small = ["--preset", "best_convolution", "--channels", "8", "16", "32", "--epochs", "10"]
    augmented = ["--shift", "2", "--batch-size", "32", "--algorithms", "sffa"]
    (record,) = made("compare", folder, tmp_path, *small, *augmented)
    first, second, third = record["layer_accuracies"]
    assert first < second < third
    assert record["test_accuracy"] > 0.5


def test_split_cifar10(folder, tmp_path):
    """The label a wave over all three channels."""
    small = ["--preset", "convolution", "--channels", "8", "8", "--batch-size", "32"]
    few = ["--scenarios", "class", "--strategies", "replay", "--memory", "50", "--epochs", "1"]
    (record,) = made("continual", folder, tmp_path, *small, *few, "--algorithms", "sffa")
    assert 0 < record["average_accuracy"] <= 1


def test_without_the_files_the_command_says_what_it_needs(tmp_path, capsys):
    arguments = ["--dataset", "cifar10", "--data-dir", str(tmp_path)]
    assert execute(compare.main, compare.Options, "compare", arguments) == 2
    assert "cifar-10-binary.tar.gz" in capsys.readouterr().err
