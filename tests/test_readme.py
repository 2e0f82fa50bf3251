"""The README's figures are those that are printed: of its runs, and of the accuracy table (docs/accuracy.md)."""

from __future__ import annotations

import re

import pytest

from .accuracy.rows import parse
from .conftest import ROOT
from .debug.transcripts import transcript

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```text\n(.*?)```", README, re.S)
TABLE = (ROOT / "docs/accuracy.md").read_text()
ERRORS = parse(TABLE)


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def figures(reference, metric):
    """(real, simulated, the peer's error) as the accuracy table has them."""
    row = next(found for line in TABLE.splitlines() if (found := cells(line))[:2] == [reference, metric])
    return row[2], row[3], row[5]


def shown(text):
    """Lines of a block that are not left out, without the spaces that line them up."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip() not in ("", "...")]


def test_the_quick_start_prints_what_is_shown(cli, tmp_path):
    (block,) = [block for block in BLOCKS if "quickstart: " in block]
    printed = shown(cli("run", "-o", tmp_path).output)
    for line in shown(block):
        assert line in printed


def test_the_debugger_says_what_is_shown(tmp_path):
    (block,) = [block for block in BLOCKS if block.startswith("$ metronome debug")]
    (tmp_path / "session").write_text(block)
    said = shown(transcript(tmp_path / "session"))
    for line in shown(block):
        assert line in said


@pytest.mark.parametrize(
    ("label", "reference"), [("Llama-3.1-8B, one device", "Llama-3.1-8B"), ("Qwen3-32B, TP 2", "Qwen3-32B")]
)
def test_errors_against_vllm_are_those_of_the_table(label, reference):
    metrics = ("mean TTFT (ms)", "mean TPOT (ms)", "mean latency (ms)")
    ours = [f"{ERRORS[reference, metric]:+.1%}".replace("%", " %") for metric in metrics]
    peers = ", ".join(figures(reference, metric)[2].replace("%", " %") for metric in metrics)
    assert f"| {label} | {' | '.join(ours)} | {peers} |" in README


def number(text, places=0):
    return f"{float(text.replace(',', '')):,.{places}f}"


def test_older_runs_are_those_of_the_table():
    for label, reference in (
        ("two A6000, Llama-3.1-8B: generated tokens each second", "A6000 Llama-3.1-8B x 2"),
        ("A6000, Phi-mini-MoE: the same", "A6000 Phi-mini-MoE"),
    ):
        real, simulated, _ = figures(reference, "end (s)")
        off = ERRORS[reference, "WAPE of generated tokens/s"]
        line = next(line for line in README.splitlines() if line.startswith(f"| {label} |"))
        assert f"ends at {number(real)} s | {number(simulated)} s, {off:.1%}".replace("%", " %") in line
    name = "H100 x 4 Llama-3.1-70B"
    rate, tpot, ttft = (figures(name, metric) for metric in ("output tokens/s", "mean TPOT (ms)", "mean TTFT (ms)"))
    sides = [f"{number(rate[i]).replace(',', '')}, {number(tpot[i], 1)} ms, {number(ttft[i], 1)} ms" for i in (0, 1)]
    assert f"| {' | '.join(sides)} |" in README
    name = "A6000 Llama-3.1-8B, prefix caching"
    blocks, hits = figures(name, "num_gpu_blocks"), figures(name, "prefix hit tokens")
    assert f"| {' | '.join(f'{number(blocks[i])}, {number(hits[i])} tokens' for i in (0, 1))} |" in README


def test_errors_without_a_profile_are_within_what_is_said():
    means = [
        error
        for (name, metric), error in ERRORS.items()
        if ", TP " in name and metric.startswith("mean of ") and "batch sizes" in metric
    ]
    assert f"mean error from {min(means) * 100:.0f} to {max(means) * 100:+.0f} %" in README
