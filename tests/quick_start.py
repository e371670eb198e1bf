"""Runs the README's example away from the repository, and looks into the wheel: `make wheel`."""

import os
import re
import sys
import tempfile
import zipfile
from pathlib import Path

wheel = Path(sys.argv[1]).resolve()
top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
assert {name for name in top if not name.endswith(".dist-info")} == {"sffa_jax"}, top

(code,) = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parent.parent / "README.md").read_text(), re.DOTALL
)
os.chdir(tempfile.mkdtemp())
names: dict = {}
exec(code, names)
import sffa_jax  # noqa: E402  (after the repository is out of reach)

assert "site-packages" in sffa_jax.__file__, sffa_jax.__file__
accuracy = float(names["accuracy"].network)
assert accuracy > 0.9, accuracy
print(f"the wheel's quick start: {100 * accuracy:.1f} %")
