"""The tutorial, played from its first line to its last in one empty folder: what it shows is what is printed."""

from __future__ import annotations

import re
import shlex

import pytest

from .conftest import ROOT
from .debug.transcripts import TYPED

TEXT = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
DEBUG = "$ metronome debug "


def squeezed(text):
    """Its lines without the spaces that line things up, which depend on the terminal."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def unlike(shown, printed):
    """The first line shown that was not printed, in the order shown, directly after the one before unless `...` is between
    them; None if all were."""
    printed, place, gap = squeezed(printed), 0, True
    for line in squeezed(shown):
        if line == "...":
            gap = True
            continue
        found = next((i for i in range(place, len(printed)) if printed[i] == line), None)
        if found is None or not (gap or found == place):
            return line
        place, gap = found + 1, False
    return None


@pytest.mark.parametrize(
    ("shown", "first"),
    [("a\nb", None), ("...\nb\nc", None), ("a\n...\nc", None), ("a\nc", "c"), ("b\n...\na", "a"), ("a\nx", "x")],
)
def test_what_is_shown_is_compared_line_by_line(shown, first):
    assert unlike(shown, "a\n  b\n\nc\n") == first


def test_the_tutorial_from_the_first_line_to_the_last(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    played, output = [], ""
    for kind, block in BLOCK.findall(TEXT):
        if kind == "yaml":
            (tmp_path / block.splitlines()[0].removeprefix("# ")).write_text(block)
        elif kind == "console":
            (line,) = block.replace("\\\n", " ").splitlines()
            done = cli(*shlex.split(line)[2:])
            assert done.exit_code == 0, done.output
            played.append(shlex.split(line)[2])
            output = done.output
        elif block.startswith(DEBUG):
            first, *lines = block.splitlines()
            (tmp_path / "typed").write_text("\n".join(match[1] for line in lines if (match := TYPED.match(line))))
            done = cli("debug", first.removeprefix(DEBUG), "-x", "typed", "--batch")
            assert done.exit_code == 0, done.output
            played.append("debug")
            assert unlike("\n".join(lines), done.output) is None, done.output
        else:
            assert unlike(block, output) is None, output
    assert played == ["import", "validate", "run", "report", "debug", "sweep", "capacity", "capacity", "plan"]
    assert slowest_first_token(tmp_path / "out/server/requests.csv") == 37  # step 4 says so


def slowest_first_token(path):
    head, *rows = (line.split(",") for line in path.read_text().splitlines())
    return int(max(rows, key=lambda row: int(row[head.index("ttft")] or 0))[head.index("id")])
