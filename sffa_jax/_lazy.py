"""Packages whose names are imported when they are first used (PEP 562).

JAX takes more than a second to import, and a command that only prints its help needs none of it.
"""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns `__getattr__` and `__dir__` of a package.

    Args:
      package: its name.
      modules: each module in it, with the names that the package offers of that module.
    """
    homes = {name: module for module, names in modules.items() for name in names}
    public = {*homes, *(module for module in modules if "." not in module)}

    def get(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = importlib.import_module(f"{package}.{homes.get(name, name)}")
        if name in homes:
            value = getattr(value, name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return get, names
