"""The bundled scenarios give the figures they always gave; a change of them is a decision."""

from __future__ import annotations

import json

import pytest

GOLDEN = json.loads((__import__("pathlib").Path(__file__).parent / "golden.json").read_text())


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name, cli, tmp_path):
    assert cli("run", name, "-o", tmp_path, "--quiet").exit_code == 0
    result = json.loads((tmp_path / "result.json").read_text())
    flat = {**result, **result["metronome"]}
    for key, expected in GOLDEN[name].items():
        assert flat[key] == (pytest.approx(expected, rel=1e-9) if isinstance(expected, float) else expected), key
