"""A typed option has an effect, or the command names what it needs."""

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest

from experiments.config import continual_presets
from experiments.config.cli import parse
from experiments.config.effects import CONTINUAL_NEEDS, NEEDS, UNUSED, is_used
from experiments.config.presets import PRESETS
from experiments.config.recipe import Recipe

ROOT = Path(__file__).parents[3]


def read(line):
    name, *words = shlex.split(line)
    return parse(importlib.import_module(f"experiments.{name}").Options, name, words)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        # What the search or the grid would replace.
        (
            "compare --learning-rate 0.01 --tune 4",
            "because the search chooses it for ffa, sffa, bp",
        ),
        (
            "compare --bp.learning-rate 0.01 --tune 4",
            "`bp.learning_rate` must be left out, because",
        ),
        ("compare --ffa-threshold 1 --tune 4", "because the search chooses it for ffa, got 1.0"),
        ("tune --weight-decay 0.1", "`weight_decay` must be left out, because the search chooses"),
        ("continual --tune 3 --strength ewc=1", "`strength` must be left out, because the search"),
        (
            "continual --tune-rates 1 2 --learning-rate 1",
            "`learning_rate` must be left out, because",
        ),
        ("robustness --activation tanh", "because the grid sets it for ffa, sffa, got 'tanh'"),
        (
            "robustness --sffa.winners 3",
            "`sffa.winners` must be left out, because the grid sets it",
        ),
        ("robustness --loss symba --ffa-logit-scale 5", "because the grid sets it for ffa, got 5"),
        ("robustness --hidden 2000", "because --widths sets it for ffa, sffa, got (2000,)"),
        # What none of the algorithms uses.
        ("compare --algorithms bp ffa --winners 3", "because it has no effect on bp, ffa, got 3"),
        ("compare --algorithms bp --overlay none", "it has no effect on bp, got 'none'"),
        (
            "compare --algorithms bp --ffa.epochs 3",
            "unless --algorithms names ffa, got --algorithms bp",
        ),
        ("continual --algorithms bp --logit-scale 3", "without the algorithm sffa, got 3.0"),
        ("continual --algorithms bp --winners 3", "without the algorithm sffa or ffa, got 3"),
        # What needs another option.
        ("compare --tune-seeds 3", "it has no effect without --tune, got 3"),
        ("compare --tune-epochs 3", "it has no effect without --tune, got 3"),
        ("compare --selection last --validation 0.2", "without --selection validation or a search"),
        ("compare --preset best --split seed", "without --selection validation or a search"),
        ("compare --second-weight 3", "it has no effect without --second-term, got 3.0"),
        ("compare --places 3", "it has no effect without --class-units learned, got 3"),
        ("compare --sffa.polarity-rate 3", "it has no effect without --class-units learned"),
        ("compare --edges reflect", "it has no effect without --shift, got 'reflect'"),
        ("compare --pooled 1", "it has no effect without --channels and --pool, got (1,)"),
        ("compare --kernel 5", "it has no effect without --channels, got 5"),
        ("compare --score probability", "without two layers or more, or --negatives hard"),
        ("compare --input-skip", "it has no effect without two layers or more, got True"),
        ("compare --loss symba --ffa-threshold 1", "without --loss bce, got 1.0"),
        ("ablation --validation 0.3", "because neither preset holds out training images, got 0.3"),
        ("records --dataset mnist --validation 0.3", "because these rows hold out no training"),
        ("compare --no-pass-winners-only", "without --winners or --ffa-winners, got False"),
        ("compare --overlay-density 0.3", "without --overlay appended_pattern, got 0.3"),
        ("compare --overlay corner --overlay-size 9", "without an appended --overlay, got 9"),
        ("compare --wave 0.1 1", "without --overlay image_wave, got (0.1, 1.0)"),
        (
            "compare --overlay image_wave --overlay-value 2",
            "an appended --overlay or corner, got 2",
        ),
        ("continual --validation 0.2", "it has no effect without --held-out, --tune or"),
        ("continual --strategies ncm --tune-rates 1 2", "it has no effect without a strategy that"),
        ("continual --strategies none --memory 9", "a strategy of replay, derpp, agem, gdumb,"),
        ("continual --strategies none --patterns 9", "without the strategy gem, got 9"),
        ("continual --axes 9", "without the strategy class_subspaces, got 9"),
        ("continual --gaussians 2", "without the strategy activity_rehearsal, or with --online"),
        ("continual --relabel", "without the strategy activity_rehearsal, got True"),
        ("continual --features 80", "without --inputs of features, or a strategy of features"),
        ("continual --strategies slda_maps --components 8", "without --inputs components, or a"),
        ("continual --mirrored", "without --inputs of maps, or a strategy of maps, got True"),
        ("continual --kernel 5", "it has no effect without --channels, got 5"),
    ],
)
def test_a_typed_option_without_effect_is_refused(line, message):
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        read(line)
    assert "must be left out" in str(refused.value)


@pytest.mark.parametrize(
    "line",
    [
        "compare --tune 4 --tune-seeds 3 --tune-epochs 1 --validation 0.2 --selection last",
        "compare --algorithms sffa bp --label-smoothing 0.1 --winners 3",  # one of them uses it
        "compare --channels 8 --pooled 0 --shift 1 --edges reflect",
        "compare --overlay none --class-units learned --places 3 --second-term contrast",
        "compare --algorithms head --places 3",
        "compare --overlay-size 9 --ffa.overlay appended_pattern --ffa.overlay-density 0.3",
        "tune --validation 0.2 --selection last --split shared",
        "robustness --hidden 8 8 --sffa-axis eps --logit-scale 3",
        "ablation --end default --validation 0.3",
        "compare --negatives hard --score probability",
        "records --only cifar10_2_cores --validation 0.3",
        "continual --tune 3 --learning-rate 0.1 --validation 0.2",
        "continual --strategies gem replay --patterns 3 --memory 9 --buffer released",
        "continual --preset maps --features 80 --components 8 --mirrored --no-reset-optimizer",
        "continual --preset convolution --kernel 5",
    ],
)
def test_other_options_are_accepted(line):
    read(line)


@pytest.mark.parametrize("command", ["compare", "latents", "robustness", "symmetry", "tune"])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_no_typed_option(command, preset):
    read(f"{command} --preset {preset}")


@pytest.mark.parametrize("preset", continual_presets.PRESETS)
def test_a_continual_preset_is_no_typed_option(preset):
    read(f"continual --preset {preset}")


def test_the_commands_of_the_recorded_results_are_accepted():
    configs = [json.loads(file.read_text()) for file in (ROOT / "results").rglob("config.json")]
    commands = [config["command"] for config in configs if "command" in config]
    assert len(commands) > 50
    for command in commands:
        read(command.removeprefix("python -m experiments."))


def test_every_rule_is_of_an_option():
    known = {
        name: importlib.import_module(f"experiments.{name}").Options().flat()
        for name in ("compare", "continual")
    }
    assert NEEDS.keys() <= known["compare"].keys()
    assert CONTINUAL_NEEDS.keys() <= known["continual"].keys()
    assert {field for fields in UNUSED.values() for field in fields} <= vars(Recipe()).keys()


def test_the_effect_of_a_field_on_an_algorithm():
    learned = Recipe(overlay="none", class_units="learned")
    assert is_used(learned, "sffa", "places")
    assert is_used(Recipe(), "head", "places")
    assert not is_used(learned, "bp", "places")
    assert not is_used(Recipe(), "sffa", "places")
    assert is_used(Recipe(ffa_winners=3), "ffa", "pass_winners_only")
    assert not is_used(Recipe(ffa_winners=3), "sffa", "pass_winners_only")
