"""`make mutants`: one thing in a file is changed, and a test of it has to fail.

    python -m tests.mutants [--count 100] [--seed 0] [NAME ...]

``--count`` mutants of each file, drawn from all that the operators of cosmic-ray make of it, each in a
copy of the checkout with the tests that cover the file. Prints survivors as they are found; what is known of each is
in docs/reliability.md. Exit code 1 if there are any.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ..conftest import ROOT

FAIR = "test_fair_rates_fill_links_and_never_exceed_them"  # of another file
LONG = "test_random_flow_sets_conserve_bytes_and_never_exceed_a_link"  # a test of slow links is as strict
SCHEDULER = [
    f"tests/serving/test_{name}.py" for name in ("encoder_cache", "hybrid", "scheduler", "contract", "handoff")
]
#: What is mutated, by name: the file, and the tests that cover it, the quickest first.
FILES: dict[str, tuple[str, list[str]]] = {
    "scheduler": (
        "orchestrator/serving/vllm/scheduler.py",
        [*SCHEDULER, "-k", "not Sglang and not folded and not hides and not process_of_its_own"],
    ),
    "pool": ("orchestrator/serving/kv/pool.py", ["tests/serving/test_pool.py", "tests/serving/test_scheduler.py"]),
    "flows": (
        "hwmodels/network/fabric/flows.py",
        [f"tests/hwmodels/test_{name}.py" for name in ("slow_links", "fabric_memories", "fabric_trains", "fabric")]
        + [f"--deselect=tests/hwmodels/test_fabric.py::{name}" for name in (FAIR, LONG)],
    ),
    "journal": ("orchestrator/record/journal.py", ["tests/record/test_journal.py", "tests/fuzz/test_guided.py"]),
    "metrics": ("orchestrator/report/metrics.py", ["tests/report/test_metrics.py"]),
}
PATIENCE = 6  # times as long as without a mutant: then the tests hang


class Mutant(NamedTuple):
    """A file's text with one thing changed, and the line where that is."""

    operator: str
    line: int
    was: str
    now: str
    text: str


#: Fails on `except (A, B)` (cosmic-ray 8.7).
BROKEN = "core/ExceptionReplacer"


def mutants(path: Path, draw: random.Random) -> Iterator[Mutant]:
    """All that are other programs (annotations may say what they like), in an order that is drawn."""
    from cosmic_ray.ast import ast_nodes, get_ast_from_path
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    text, nodes = path.read_text(), list(ast_nodes(get_ast_from_path(path)))
    program = _program(text)
    kinds = {name: get_operator(name) for name in operator_names() if name != BROKEN}
    operators = {name: kind() for name, kind in kinds.items() if not kind.arguments()}
    places = []
    for name, operator in operators.items():
        spots = [spot for node in nodes for spot in operator.mutation_positions(node)]
        places += [(name, occurrence, line) for occurrence, ((line, _), _) in enumerate(spots)]
    draw.shuffle(places)
    for name, occurrence, line in places:
        changed = mutate_code(text, operators[name], occurrence)
        if changed is not None and _program(changed) not in ("", program):
            was, now = (each.splitlines()[line - 1].strip() for each in (text, changed))
            yield Mutant(name.removeprefix("core/"), line, was, now, changed)


def _program(text: str) -> str:
    """What is run of it: without annotations and docstrings; empty for no program."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.dump(tree)


class Copy:
    """The checkout in a folder of its own, importable as ``metronome`` from there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        for name in filter(None, names.decode().split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        package = folder / "importable" / "metronome"
        package.mkdir(parents=True)
        for part in (
            *(folder / "proto/metronome").iterdir(),
            *(folder / n for n in ("adapters", "hwmodels", "orchestrator")),
        ):
            (package / part.name).symlink_to(part)
        self._longest_s = 600.0
        self._environment = {**os.environ, "PYTHONPATH": str(folder / "importable"), "PYTHONDONTWRITEBYTECODE": "1"}

    def passes(self, tests: list[str]) -> bool:
        """Whether these tests pass there; one that hangs does not."""
        plugins = ["-p", "no:cacheprovider", "-p", "tests.mutants.unshrunk"]
        command = [sys.executable, "-m", "pytest", "-x", "-q", *plugins, "--hypothesis-seed=0", *tests]
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=self._environment, capture_output=True, timeout=self._longest_s
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def learn(self, tests: list[str]) -> bool:
        """Whether they pass without a mutant, and how long they may take with one."""
        self._longest_s = 600.0
        began = time.monotonic()
        good = self.passes(tests)
        self._longest_s = 10 + PATIENCE * (time.monotonic() - began)
        return good

    def survives(self, path: str, mutant: Mutant, tests: list[str]) -> bool:
        good = (self.folder / path).read_text()
        (self.folder / path).write_text(mutant.text)
        try:
            return self.passes(tests)
        finally:
            (self.folder / path).write_text(good)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", choices=[*FILES, []], help="files, by name; default: all")
    parser.add_argument("--count", type=int, default=100, help="mutants of each file")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        for name in given.names or FILES:
            path, tests = FILES[name]
            if not copy.learn(tests):
                sys.exit(f"{name}: its tests fail without a mutant")
            drawn = list(islice(mutants(ROOT / path, random.Random(f"{given.seed} {name}")), given.count))
            alive = 0
            for mutant in drawn:
                if copy.survives(path, mutant, tests):
                    alive += 1
                    print(f"{path}:{mutant.line} {mutant.operator}\n  - {mutant.was}\n  + {mutant.now}", flush=True)
            survivors += alive
            print(f"{name}: {len(drawn)} mutants, {alive} survived", flush=True)
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
