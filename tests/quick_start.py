"""Runs the README's two examples outside the repository and checks the wheel: `make wheel`."""

import contextlib
import io
import os
import re
import sys
import tempfile
import zipfile
from pathlib import Path

wheel = Path(sys.argv[1]).resolve()
top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
assert {name for name in top if not name.endswith(".dist-info")} == {"sffa_jax"}, top

readme = (Path(__file__).parent.parent / "README.md").read_text()
estimator, layers = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
os.chdir(tempfile.mkdtemp())
names: dict = {}
exec(estimator, names)
import sffa_jax  # noqa: E402  (after the repository is out of reach)

assert "site-packages" in sffa_jax.__file__, sffa_jax.__file__
accuracy = names["accuracy"]
assert isinstance(accuracy, float), type(accuracy)
stated = float(re.findall(r"# (0\.\d+)", estimator)[0])
assert abs(accuracy - stated) < 0.004, (accuracy, stated)  # platforms differ by an image

printed = io.StringIO()
names = {}
with contextlib.redirect_stdout(printed):
    exec(layers, names)
assert 0.9 < float(printed.getvalue()) <= 1, printed.getvalue()
labels = names["labels"]
assert (labels == names["test"].labels).mean() > 0.9, labels
print(f"the wheel's examples: {100 * accuracy:.1f} % and {100 * float(printed.getvalue()):.1f} %")
