"""The corpus of `tests.fuzz.guided`: what reached a new branch, and what was found."""

from __future__ import annotations

import pytest

from .guided import CORPUS, TARGETS, framed

INPUTS = [(target, path) for target in TARGETS for path in sorted((CORPUS / target).iterdir())]


@pytest.mark.parametrize(("target", "path"), INPUTS, ids=[f"{target}-{path.name}" for target, path in INPUTS])
def test_no_input_of_the_corpus_raises_what_it_may_not(target, path):
    TARGETS[target](path.read_bytes())


def test_frames_make_a_recording(tmp_path):
    """Else the fuzzer would see nothing behind the checksums."""
    from metronome.orchestrator.record.journal import Journal

    header, end = b'{"a": 1}', b'{"status": "complete", "error": "", "events": 0, "blocks": []}'
    data = b"".join(bytes([kind, len(c) % 256, len(c) // 256, 0]) + c for kind, c in ((0, header), (2, end)))
    (tmp_path / "journal").write_bytes(framed(data))
    found = Journal(tmp_path / "journal")
    assert found.header == {"a": 1} and found.ending["status"] == "complete" and list(found.blocks()) == []
