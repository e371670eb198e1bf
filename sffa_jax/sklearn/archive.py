"""Save and load an estimator as one NumPy archive, without pickle."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sffa_jax.checks import reject, reject_type
from sffa_jax.training.saved import write_file

FORMAT = 3
"""Version of the files that `write` makes."""


def write(estimator: Any, path: Path | str) -> None:
    """Write parameters and fitted attributes; the file at `path` is replaced at the end.

    Raises:
      TypeError: if a parameter is a function, for example `activation`.
      ValueError: if `random_state` is a generator.
      OSError: if the file cannot be written.
    """
    if not (estimator.random_state is None or hasattr(estimator.random_state, "__index__")):
        advice = "A fitted estimator does not use it any more: set_params(random_state=None)."
        raise reject("save", "random_state", "be a number or None", estimator.random_state, advice)
    fitted = {name: value for name, value in vars(estimator).items() if name.endswith("_")}
    leaves = jax.tree.leaves(fitted.pop("layers_"))
    # Feature names are objects, which NumPy would pickle.
    arrays: dict[str, Any] = {
        name: value.astype(str) if value.dtype == object else value
        for name, value in fitted.items()
        if isinstance(value, np.ndarray)
    }
    head = {
        "estimator": [type(estimator).__name__, FORMAT],
        # JSON has only strings as keys; the keys of a `class_weight` are classes.
        "parameters": {
            name: [*value.items()] if isinstance(value, Mapping) else value
            for name, value in estimator.get_params(deep=False).items()
        },
        "fitted": {name: value for name, value in fitted.items() if name not in arrays},
    }
    arrays |= {f"leaf {i:05d}": leaf for i, leaf in enumerate(leaves)}
    text = json.dumps(head, default=_to_json)
    write_file(path, lambda file: np.savez(file, head=np.array(text), **arrays))


def _to_json(value: Any) -> Any:
    """Convert what JSON does not support, such as the NumPy scalars of parameter searches."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Sequence):
        return list(value)
    rule = "have parameters that are numbers, text or sequences"
    raise reject_type("save", "estimator", rule, repr(value), "`joblib.dump` saves functions, too.")


def read(kind: type, path: Path | str) -> tuple[dict[str, Any], dict[str, Any], list[np.ndarray]]:
    """Return the parameters, the fitted attributes, and the leaves of `layers_`.

    Args:
      kind: class of the saved estimator.
      path: the file.

    Raises:
      ValueError: if the file is damaged or holds something else.
      OSError: if it cannot be read.
    """
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = dict(file)
        head = json.loads(str(arrays.pop("head")))
        saved_kind = head["estimator"]
    except (zipfile.BadZipFile, EOFError, KeyError, TypeError, ValueError) as error:
        raise reject("load", "path", "be an undamaged file that `save` wrote", path) from error
    if saved_kind != [kind.__name__, FORMAT]:
        raise reject("load", "path", f"hold a {kind.__name__} of format {FORMAT}", saved_kind)
    parameters = head["parameters"]
    if isinstance(parameters["hidden_layer_sizes"], list):
        parameters["hidden_layer_sizes"] = tuple(parameters["hidden_layer_sizes"])
    if isinstance(parameters.get("class_weight"), list):
        parameters["class_weight"] = dict(parameters["class_weight"])
    leaves = [arrays.pop(name) for name in sorted(arrays) if name.startswith("leaf ")]
    if "feature_names_in_" in arrays:
        arrays["feature_names_in_"] = arrays["feature_names_in_"].astype(object)
    return parameters, head["fitted"] | arrays, leaves
