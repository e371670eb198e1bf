"""The driver of all experiments; what it starts is tested elsewhere."""

import importlib

import pytest
from commands import run_command

from experiments import paper
from experiments.claims.published import CLAIMS
from experiments.harness.experiment import parse


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("step", paper.STEPS)
def test_every_step_is_a_command_that_is_understood(step, quick):
    module, *arguments = paper.Options(quick=quick).words(step)
    options = parse(importlib.import_module(module).Options, module.split(".")[1], arguments)
    if not module.endswith("symmetry"):
        options = options.resolve()
    if quick:
        assert options.seeds <= 2
    else:
        assert options.seeds == (1 if step == "robustness/mnist" else 10)


def test_every_claim_is_made_by_a_step():
    claims = [claim for kind in CLAIMS.values() for claim in kind]
    for claim in claims:
        for where in (claim.paper_settings, claim.best):
            assert where is None or where[0] in paper.STEPS


def test_steps_run_in_order_and_the_pages_are_written(tmp_path, monkeypatch):
    started = []

    def run_python(*words):
        started.append(words[1])
        return 0

    monkeypatch.setattr(paper, "run_python", run_python)
    options = paper.Options(steps=("symmetry/mnist", "latents/mnist"), out=tmp_path)
    paper.main(options)
    assert started == ["experiments.symmetry", "experiments.latents", "experiments.report"]
    page = (tmp_path / "reproduction.md").read_text()
    assert "| MNIST, one hidden layer | SFFA | 97.87 |" in page
    assert "| MNIST, sigmoid | 97.58 | not run | - |" in page
    assert "| MNIST, FFA | [Polar-FFA]" in page


def test_a_step_that_fails_ends_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(paper, "run_python", lambda *_: 2)
    run = run_command("paper", "--steps", "symmetry/mnist", "--out", tmp_path)
    assert run.status == 2
    assert "`symmetry/mnist` must end with status 0, got 2" in run.err
    assert not list(tmp_path.iterdir())


def test_bad_steps(tmp_path):
    run = run_command("paper", "--steps", "x", "--out", tmp_path)
    assert run.status == 2
    assert "`steps` must be one of compare/best_fashion_mnist" in run.err
    skipped = next(step for step in paper.STEPS if paper.STEPS[step].quick is None)
    run = run_command("paper", "--quick", "--steps", skipped, "--out", tmp_path)
    assert run.status == 2
    assert f"`steps` must name a step that --quick does not skip, got {skipped}" in run.err
