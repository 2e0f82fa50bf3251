"""What a worker of a cluster does: see that it has what we have, then do a task.

Imported in the worker by name, so that what is sent is data alone. A worker's tasks are done in threads of its
process: one at a time, since Python's warnings belong to the process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from ..errors import InputError
from ..scenario.loading import load
from .store import decides
from .worker import Answer, Task, Work

ONE = Lock()


def seen(task: Task) -> str:
    """What decides a task's result, as JSON: the task, the code and the files it names, as they are seen here.

    Raises InputError for a scenario that cannot be.
    """
    source, overrides, *_ = task
    return json.dumps({"task": (source, overrides), **_facts(source, overrides)}, sort_keys=True)


def _facts(source: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    facts = decides(*load(source, overrides))
    return {name: facts[name] for name in ("version", "code", "packages", "files")}


def compute(work: Work[Answer], task: Task, theirs: str) -> Answer | str:
    """What the work gives; or, as a text, what is another here than where it was asked for."""
    with ONE:
        return _other(theirs) or work(*task)


@cache
def _other(theirs: str) -> str:
    """What is another here than in `seen` there; empty if nothing is. Looked at once a process."""
    expected = json.loads(theirs)
    try:
        found = json.loads(seen((expected["task"][0], expected["task"][1])))
    except InputError as error:
        return f"cannot read what the sweep reads: {error}"
    for name in ("version", "code", "packages"):
        if found[name] != expected[name]:
            return f"has other {'code' if name == 'version' else name} than is here; install the same version there"
    for name, digest in expected["files"].items():
        if found["files"].get(name) != digest:
            return f"sees another {name} than is here; every worker must see the same files at the same paths"
    return ""


def absolute(source: str) -> str:
    """A path that means the same in another working directory; a bundled scenario's name stays."""
    return str(Path(source).resolve()) if Path(source).is_file() else source
