"""Records and output folders that pass the gate for records."""

import json

OPTIONS = {
    **{"dataset": "digits", "algorithms": ["ffa", "sffa", "bp"], "seeds": 10},
    **{"hidden": [8], "preset": "default"},
}
DEVICE = {"platform": "cpu", "kind": "cpu", "count": 1, "host_cores": 2}


def trained(algorithm, seed, accuracy=0.9, **changes):
    """The record of a run of `compare` with two epochs."""
    return {
        "dataset": "digits",
        "algorithm": algorithm,
        "seed": seed,
        "status": "done",
        "test_accuracy": accuracy,
        "validation_accuracy": accuracy,
        "layer_accuracies": [accuracy],
        "cumulated_accuracies": [accuracy],
        "selected_epoch": 2,
        "epochs": 2,
        "train_seconds": 3.0,
        "parallel": "map",
        "history": {"loss": [0.7, 0.6], "validation_accuracy": [0.5, accuracy]},
    } | changes


def write_results(folder, records, experiment="compare", device=DEVICE, **options):
    """Writes an output folder."""
    folder.mkdir(parents=True)
    config = {"experiment": experiment, "options": OPTIONS | options, "device": device}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
