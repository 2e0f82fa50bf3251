"""A step costs as many calls as it did: who makes it dearer, or cheaper, says so here."""

from __future__ import annotations

import sys

import pytest

from .cost import calls_a_step

#: By scenario, on Python 3.11; versions differ in what is a call.
CALLS = {
    "quickstart": 368,
    "prefill-decode": 812,
    "shared-prefixes": 636,
    "expert-parallel": 217,
}


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="counted on Python 3.11")
@pytest.mark.parametrize("scenario", CALLS)
def test_a_step_costs_what_it_did(scenario):
    now = calls_a_step(scenario)
    assert now == pytest.approx(CALLS[scenario], rel=0.03), "if that is worth it, this is the new figure"
