"""The session of docs/debugging.md is what the debugger says."""

from __future__ import annotations

import re
import sys

from ..conftest import ROOT
from .transcripts import transcript

PAGE = ROOT / "docs" / "debugging.md"
BLOCK = re.compile(r"(?<=```text\n)\$ metronome debug slow-link\n.*?(?=```)", re.S)


def test_the_session_that_finds_the_slow_link(tmp_path):
    shown = BLOCK.search(PAGE.read_text())[0]
    (tmp_path / "session").write_text(shown)
    assert transcript(tmp_path / "session") == shown
    assert re.search(r"network +K and V over uplink-1 .* 63.8%", shown)


if __name__ == "__main__" and "--write" in sys.argv:  # python -m tests.debug.test_docs_session --write
    from pathlib import Path
    from tempfile import mkdtemp

    text = PAGE.read_text()
    path = Path(mkdtemp()) / "session"
    path.write_text(BLOCK.search(text)[0])
    PAGE.write_text(BLOCK.sub(lambda _: transcript(path), text))
