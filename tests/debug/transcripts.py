"""Sessions of the debugger as text files: what is typed after the prompt, and what comes back.

    python -m tests.debug.transcripts     # write them anew from the commands they hold

The first line names the scenario. `test_transcripts.py` holds each session to its file.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from metronome.orchestrator.cli.debug import open_session
from metronome.orchestrator.debug.console import Console

FOLDER = Path(__file__).parent / "sessions"
TYPED = re.compile(r"^(?:\[\d+ [\d.]+ ms \w+\]|>) (.*)$")
VARIES = ((re.compile(r"\d+\.\d{3} s in"), "N.NNN s in"), (re.compile(r"(process |-p |pid )\d+"), r"\1PID"))


def transcript(path: Path) -> str:
    """What the session in that file gives now."""
    first, *lines = path.read_text().splitlines()
    scenario = first.split()[-1]
    found = FOLDER / scenario
    typed = [match[1] for line in lines if (match := TYPED.match(line))]
    out = io.StringIO()
    with open_session(str(found) if found.exists() else scenario, (), None, None) as session:
        Console(session, stdin=io.StringIO(), stdout=out).script(typed)
    text = out.getvalue()
    for varying, fixed in VARIES:
        text = varying.sub(fixed, text)
    return f"{first}\n{text.replace(str(FOLDER), 'SESSIONS')}"


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.txt")):
        path.write_text(transcript(path))
