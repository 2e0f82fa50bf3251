"""Sessions held to what they gave before: one for every command."""

from __future__ import annotations

import pytest
from metronome.orchestrator.debug.console import Console

from ..conftest import ROOT
from .transcripts import FOLDER, transcript

FILES = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_session_gives_what_it_gave(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert transcript(path) == path.read_text()


def test_every_command_has_a_session():
    commands = {name[3:].replace("_", "-") for name in dir(Console) if name.startswith("do_")} - {"EOF"}
    assert commands == {path.stem for path in FILES} - {"catch-tie", "mistakes"}


def test_every_command_explains_itself():
    for name in dir(Console):
        if name.startswith("do_") and name != "do_EOF":
            assert (getattr(Console, name).__doc__ or "").startswith(name[3:].replace("_", "-")), name
