"""Commands, each a `main` with its options; the algorithms are in `sffa_jax`."""

import sys

if sys.argv[0] == "-m":  # `python -m experiments.NAME`, which now locates that module
    from experiments.harness.signals import handle_signals

    handle_signals()

    from experiments.harness.output import check_limits, prepare_output

    prepare_output()
    check_limits()

from importlib.util import find_spec

_PACKAGES = ("jinja2", "matplotlib", "pandas", "rich", "scipy", "tensorboardX", "tyro")

if _missing := [package for package in _PACKAGES if find_spec(package) is None]:
    raise ModuleNotFoundError(
        f"the experiments need {', '.join(_missing)}, which are not installed. "
        "Run: python -m pip install --editable '.[experiments,stream]'"
    )
