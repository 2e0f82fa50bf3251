"""The session of docs/debugging.md is what the debugger says."""

from __future__ import annotations

import re
import sys

from ..conftest import ROOT
from .transcripts import transcript

PAGE = ROOT / "docs" / "debugging.md"
BLOCK = re.compile(r"(?<=```text\n)\$ metronome debug slow-link\n.*?(?=```)", re.S)


def test_the_session_that_finds_the_slow_link(tmp_path):
    shown, _ = BLOCK.findall(PAGE.read_text())
    (tmp_path / "session").write_text(shown)
    assert transcript(tmp_path / "session") == shown
    assert re.search(r"network +K and V over uplink-1 .* 64.2%", shown)


def test_the_session_that_asks_what_if(tmp_path):
    _, shown = BLOCK.findall(PAGE.read_text())
    (tmp_path / "session").write_text(shown)
    assert transcript(tmp_path / "session") == shown
    assert re.search(r"bandwidth_gb_s = 400: .* -1323\.\d+ ms\n.*: so it is", shown)
    assert re.search(r"request 35 without request 33: .*\n.*: it is not so .*\n  it is served by prefill-0", shown)


if __name__ == "__main__" and "--write" in sys.argv:  # python -m tests.debug.test_docs_session --write
    from pathlib import Path
    from tempfile import mkdtemp

    text = PAGE.read_text()
    path = Path(mkdtemp()) / "session"

    def anew(found: re.Match[str]) -> str:
        path.write_text(found[0])
        return transcript(path)

    PAGE.write_text(BLOCK.sub(anew, text))
