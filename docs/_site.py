"""What the site needs beyond docs/: pages from elsewhere, and the files that pages point to.

Pages are read in the repository first, where `../results/...` is a path; in the site these files
stand under `repository/`.
"""

import json
import os.path
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
ELSEWHERE = {
    "index.md": "README.md",
    "commands.md": "experiments/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
NOTEBOOK = "quick_start.ipynb"
NAMES = {path: name for name, path in ELSEWHERE.items()}
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")
OUTSIDE = re.compile(r"(?<=\]\()\.\./([^)#\s]+)")


def target(path: str) -> Path:
    """The file a path of the repository stands for: of a folder of results, its records."""
    found = ROOT / path
    return next(iter(sorted(found.rglob("results.jsonl"))), found) if found.is_dir() else found


def source(name: str) -> str:
    """A page's text as if it stood in docs/."""
    path = ELSEWHERE[name]
    folder = os.path.dirname(path)

    def moved(match: re.Match[str]) -> str:
        aim = os.path.normpath(os.path.join(folder, match[1]))
        return os.path.relpath(aim, "docs")

    return LINK.sub(moved, (ROOT / path).read_text())


def notebook_page(text: str) -> str:
    """A notebook's cells and stored outputs as Markdown."""
    parts = []
    for cell in json.loads(text)["cells"]:
        content = "".join(cell["source"])
        parts.append(content if cell["cell_type"] == "markdown" else f"```python\n{content}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                parts.append(
                    f"![Output](data:image/png;base64,{''.join(data['image/png']).strip()})"
                )
            elif "text" in output:
                parts.append(f"```text\n{''.join(output['text'])}```")
    return "\n\n".join(parts) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages from elsewhere and every file that a page points to outside docs/."""
    for name in ELSEWHERE:
        files.append(File.generated(config, name, content=source(name)))
    notebook = (ROOT / "docs" / NOTEBOOK).read_text()
    page = File.generated(config, "notebook.md", content=notebook_page(notebook))
    files.append(page)
    texts = [file.content_string for file in files.documentation_pages()]
    for path in {path for text in texts for path in OUTSIDE.findall(text)} - NAMES.keys():
        inside = target(path).relative_to(ROOT).as_posix()
        if files.get_file_from_path(f"repository/{inside}") is None:
            content = (ROOT / inside).read_bytes()
            files.append(File.generated(config, f"repository/{inside}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links that lead out of docs/ at these pages and files."""
    del config, files

    def moved(match: re.Match[str]) -> str:
        inside = f"repository/{target(match[1]).relative_to(ROOT).as_posix()}"
        aim = NAMES.get(match[1], inside)
        return os.path.relpath(aim, os.path.dirname(page.file.src_path) or ".")

    # A number and its interval stay on one line.
    markdown = OUTSIDE.sub(moved, markdown).replace(" ± ", "\u00a0±\u00a0")
    return markdown.replace(f"]({NOTEBOOK})", "](notebook.md)")
