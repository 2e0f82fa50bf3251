"""The scenario on which vLLM's and SGLang's schedulers differ, as docs/engines.md shows it."""

from __future__ import annotations

import re

import metronome
import pytest
from metronome.orchestrator.cli.debug import open_session
from metronome.orchestrator.debug.why_looks import because

from ..conftest import ROOT

PAGE = (ROOT / "docs" / "engines.md").read_text()
SGLANG = {"instances.0.engine.version": "sglang-0.5.5"}
SCHEDULERS = {
    "vLLM, first come first served": {},
    "SGLang, `fcfs`": {**SGLANG, "instances.0.engine.schedule_policy": "fcfs"},
    "SGLang, `lpm`": {**SGLANG, "instances.0.engine.schedule_policy": "lpm"},
}


@pytest.fixture(scope="module")
def metrics():
    return {name: metronome.run("shared-prefixes", overrides=flags).metrics for name, flags in SCHEDULERS.items()}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_table_has_what_the_runs_give(metrics, name):
    found = metrics[name]
    hit, times = found["metronome"]["prefix_hit_tokens"], [found["mean_ttft_ms"], found["p99_ttft_ms"]]
    row = (
        f"| {name} | {hit} | " + " | ".join(f"{time:.0f} ms" for time in times) + f" | {found['mean_tpot_ms']:.2f} ms |"
    )
    assert row in PAGE
    assert f"hit, of {found['total_input_tokens']} |" in PAGE


def test_longest_prefix_first_hits_more_and_answers_sooner(metrics):
    vllm, fcfs, lpm = metrics.values()
    assert lpm["metronome"]["prefix_hit_tokens"] > 2 * vllm["metronome"]["prefix_hit_tokens"]
    assert lpm["mean_ttft_ms"] < vllm["mean_ttft_ms"] / 4 < fcfs["mean_ttft_ms"] / 4
    assert vllm["mean_tpot_ms"] < lpm["mean_tpot_ms"]  # whose decodes wait for prompts


@pytest.mark.parametrize("name", ["vLLM, first come first served", "SGLang, `lpm`"])
def test_why_shows_what_the_page_says(name):
    flags = [f"{path}={value}" for path, value in SCHEDULERS[name].items()]
    with open_session("shared-prefixes", flags, None, None) as session:
        session.run()
        shown = because(session, 60)
    assert "\n".join(shown[:6]) in PAGE
    assert re.search("of 2259 prompt tokens (2000|0) were in the prefix cache", shown[1])
