"""Commands, each a `main` with its options; the algorithms are in `sffa_jax`."""

from importlib.util import find_spec

_PACKAGES = ("jinja2", "matplotlib", "pandas", "rich", "scipy", "tensorboardX", "tyro")

if _missing := [package for package in _PACKAGES if find_spec(package) is None]:
    raise ModuleNotFoundError(
        f"the experiments need {', '.join(_missing)}, which are not installed. "
        "Run: python -m pip install --editable '.[experiments,stream]'"
    )
