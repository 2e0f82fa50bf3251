"""Inputs from the field: `../shared/cases`, read in place; each says what is right and where that comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..conftest import ROOT

CASES = ROOT.parent / "shared" / "cases"


@pytest.fixture(scope="session")
def cases() -> Path:
    """Skips where they are absent."""
    if not CASES.is_dir():
        pytest.skip("needs ../shared/cases, which is absent")
    return CASES
