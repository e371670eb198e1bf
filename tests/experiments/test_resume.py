"""Killed at any moment, a run ends as the undisturbed one does, bit for bit."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from commands import ROOT, read, run_program, start

STOPPED = """
    import dataclasses, json, tempfile
    import jax
    from rich.console import Console
    from experiments.harness import continual_runs
    from experiments.config.continual_options import Options
    from sffa_jax import data
    from sffa_jax.scale.checkpoints import Checkpoints

    jax.config.update("jax_num_cpu_devices", 2)
    continual_runs.PORTION = 4
    given = Options(
        hidden=(8, 6), epochs=1, memory=20, tasks=2, class_order=(0, 1, 2, 3), checkpoint_seconds=0
    )
    used = continual_runs.load_data(given.resolve(), data.load("digits"), held_out=False)

    class Killed(Checkpoints):
        def save(self, step, *arguments):
            super().save(step, *arguments)
            if step == 4:
                raise KeyboardInterrupt

    def run(checkpoints, way):
        options = dataclasses.replace(given, parallel=way).resolve()
        cell = continual_runs.Cell("class", "replay", "sffa")
        groups = continual_runs.run_seeds(
            options, cell, used, [0, 1], [0.0, 0.0], checkpoints, console=Console(), label="x"
        )
        return [
            [run.position, run.stored, run.accuracy.tolist(), run.losses.tolist()]
            for group in groups
            for run in group
        ]

    ended = {}
    for way in ("map", "devices"):
        folder = tempfile.mkdtemp()
        try:
            run(Killed(folder), way)
        except KeyboardInterrupt:
            ended["stopped_at", way] = Checkpoints(folder).steps()
        ended["resumed", way] = run(Checkpoints(folder), way)
        assert not Checkpoints(folder).steps()
        ended["whole", way] = run(None, way)
    print("ENDED" + json.dumps({" ".join(name): value for name, value in ended.items()}))
"""


def test_a_continual_run_goes_on_in_the_middle_of_a_task():
    ended = json.loads(run_program(STOPPED).partition("ENDED")[2])
    for way in ("map", "devices"):
        # Three portions a task: the fourth is the first of the second task.
        assert ended[f"stopped_at {way}"] == [3, 4]
        assert ended[f"resumed {way}"] == ended[f"whole {way}"]
        assert len(ended[f"whole {way}"]) == 2
    # Nor does a run depend on how, or beside which others, it is run.
    (_, stored, accuracy, losses), other = ended["whole map"]
    assert ended["whole devices"][0][1:3] == [stored, accuracy]
    np.testing.assert_allclose(ended["whole devices"][0][3], losses, rtol=1e-3)
    assert other[2] != accuracy
    for way in ("map", "devices"):
        assert np.isfinite(np.array(ended[f"whole {way}"][0][3])).all()


EXPERIMENTS = {
    "compare": ["--hidden", "32", "--epochs", "12", "--seeds", "2", "--parallel", "map"],
    "continual": [
        *("--hidden", "32", "16", "--epochs", "4", "--seeds", "2", "--parallel", "map"),
        *("--scenarios", "class", "--strategies", "replay", "ewc", "--memory", "50"),
    ],
}
TIMES = ("train_seconds", "task_seconds")


def results(folder):
    """The records without what is never twice the same."""
    records = [{k: v for k, v in record.items() if k not in TIMES} for record in read(folder)]
    return sorted(json.dumps(record, sort_keys=True) for record in records)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_random_kills(tmp_path, experiment):
    """SFFA_KILLS (10 if not set) endings, each of a run that was killed once or more."""
    common = [*EXPERIMENTS[experiment], "--compilation-cache", str(tmp_path / "programs")]
    common += ["--checkpoint-seconds", "0"]
    began = start(experiment, *common, "--out", str(tmp_path / "undisturbed"))
    assert began.returncode == 0, began.stderr
    expected = results(tmp_path / "undisturbed")
    random = np.random.default_rng(0)
    for number in range(int(os.environ.get("SFFA_KILLS", "10"))):
        folder = tmp_path / str(number)
        command = [sys.executable, "-m", f"experiments.{experiment}", *common, "--out", folder]
        code, kills = -signal.SIGKILL, 0
        while code == -signal.SIGKILL:
            with subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    # After the first kill it is left more and more time.
                    process.wait(timeout=random.uniform(2, 12) * (1 + kills))
                if process.poll() is None:
                    process.kill()
                    kills += 1
                code = process.wait()
                assert code in (0, -signal.SIGKILL), process.stderr.read().decode()
        assert results(folder) == expected, (number, kills)
        assert not (folder / "checkpoints").exists()
