"""Builds the documentation as a site: ``python docs/site/build.py [FOLDER]``. Strict: a link that leads nowhere fails.

The pages of docs/, three that stand outside it, and a reference made from the code are laid out in one folder, from
which Sphinx makes the site. Nothing is asked of a network.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import catalog
import cli
import fields
import models
import navigation
import wire
from sphinx.cmd.build import main as sphinx

SITE = Path(__file__).parent
DOCS = SITE.parent
ROOT = DOCS.parent
SCHEMA = ROOT / "scenarios" / "scenario.schema.json"  # beside the scenarios, which name it
#: page of the site -> file of the repository
OUTSIDE = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
REFERENCE = {
    "fields": fields.page,
    "cli": cli.page,
    "wire": wire.page,
    "catalog": catalog.page,
    "components": models.page,
}
LINK = re.compile(r"\[([^\]]+)\]\(([^):#\s]+)(#[^)\s]*)?\)")


def main(target: Path) -> int:
    """Build the site there, anew; the exit status."""
    shutil.rmtree(target, ignore_errors=True)
    with TemporaryDirectory() as folder:
        lay_out(Path(folder))
        return make(Path(folder), target)


def make(source: Path, target: Path) -> int:
    """A site of the pages below ``source``; the exit status. Any warning is an error, and all are shown."""
    strict = ["-q", "-W", "--keep-going", "-E"]
    return sphinx([*strict, "-d", str(source / ".trees"), "-c", str(SITE), str(source), str(target)])


def lay_out(source: Path) -> None:
    """Write every page of the site, and what they show and offer, below ``source``."""
    shutil.copytree(DOCS / "pictures", source / "pictures")
    shutil.copy(SCHEMA, source)
    for path in DOCS.rglob("*.md"):
        _write(source / path.relative_to(DOCS), links(path.read_text(encoding="utf-8"), path.parent))
    for page, name in OUTSIDE.items():
        _write(source / page, links((ROOT / name).read_text(encoding="utf-8"), ROOT))
    for page, made in REFERENCE.items():
        _write(source / "reference" / f"{page}.md", made())
    for page, trees in (("index.md", navigation.toctrees()), ("decisions/README.md", navigation.DECISIONS)):
        with (source / page).open("a", encoding="utf-8") as file:
            file.write(trees)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def links(text: str, folder: Path) -> str:
    """The text with its links to files as they are on the site; to a file that is no page there, its name."""
    pages = {SCHEMA: SCHEMA.name} | {ROOT / name: page for page, name in OUTSIDE.items()}

    def moved(match: re.Match[str]) -> str:
        words, target, anchor = match[1], (folder / match[2]).resolve(), match[3] or ""
        if target in pages:
            return f"[{words}]({pages[target]}{anchor})"
        if target.is_relative_to(DOCS):
            inside = target.relative_to(DOCS).as_posix() if folder == ROOT else match[2]
            return f"[{words}]({inside}{anchor})"
        return f"{words} (`{target.relative_to(ROOT)}`)" if target.exists() else match[0]

    return LINK.sub(moved, text)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "out" / "site")))
