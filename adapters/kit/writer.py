"""Writes a new adapter package from the template beside this file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

#: kind -> the operations a model of that kind is asked for.
KINDS: Mapping[str, tuple[str, ...]] = {
    "accelerator": ("gemm", "attention", "moe", "norm", "elementwise", "embedding", "sampler"),
    "pim": ("attention",),
    "memory": ("read", "write", "copy"),
    "network": ("send", "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"),
}
NAME = re.compile(r"^[a-z][a-z0-9-]*[a-z0-9]$")
#: file of the template -> where it goes.
FILES = {
    "model.py.txt": "$package/__init__.py",
    "test_conformance.py.txt": "tests/test_conformance.py",
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "scenario.yaml.txt": "config.yaml",
}


def write_adapter(name: str, kind: str, folder: Path) -> list[Path]:
    """Writes the package into ``folder`` (made, or empty); returns its files. Raises ValueError, FileExistsError."""
    if not NAME.match(name):
        raise ValueError("small letters, digits and dashes, beginning with a letter")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(str(folder))
    package = name.replace("-", "_")
    words = {
        "name": name,
        "kind": kind,
        "package": package,
        "Class": "".join(w.capitalize() for w in name.split("-")),
        "op_kinds": ", ".join(f'"{op}"' for op in KINDS[kind]),
    }
    written = []
    for source, target in FILES.items():
        path = folder / Template(target).substitute(words)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(files(__package__).joinpath("template", source).read_text()).substitute(words))
        written.append(path)
    return written
