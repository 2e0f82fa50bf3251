"""Tables on a terminal of 80 columns: names are whole, nothing is cut off."""

from __future__ import annotations

import pytest
import yaml
from metronome.orchestrator.cli import grid
from metronome.orchestrator.sweep.page import describe


def shown(capsys, monkeypatch, heads, rows, names):
    monkeypatch.setenv("COLUMNS", "80")
    grid.show("what it is about", heads, rows, names)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    return lines


def test_names_stay_whole_and_figures_are_not_cut(capsys, monkeypatch):
    heads = (
        "device",
        "TP",
        "prefill_+ decode",
        "one_holds_/s",
        "devices",
        "USD/h",
        "USD/M_tokens",
        "p99_TTFT",
        "p99_TPOT",
    )
    row = ("rtx-pro-6000", "16", "12 + 10", "1,235", "352", "1,056", "123.5", "12,345", "123.5")
    lines = shown(capsys, monkeypatch, heads, [row], 3)
    assert any(line.split() == " ".join(row).split() for line in lines), lines


def test_heads_are_broken_where_words_end(capsys, monkeypatch):
    heads = ("point", "usd_per_million_output_tokens", "p99_tpot_ms", "output_throughput", "joules_per_output_token")
    lines = shown(capsys, monkeypatch, heads, [("max_num_seqs = 16, request_rate = 6", "1.5", "40", "200", "7")], 0)
    words = {word for line in lines for word in line.split()}
    assert {"million", "throughput", "joules", "max_num_seqs", "1.5"} <= words


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["workload.request_rate"], "request_rate = 1"),
        (["instances.0.engine.max_num_seqs", "seed"], "max_num_seqs = 1, seed = 1"),
        (
            ["instances.0.engine.max_num_seqs", "instances.1.engine.max_num_seqs"],
            "instances.0.engine.max_num_seqs = 1, instances.1.engine.max_num_seqs = 1",
        ),
    ],
)
def test_a_point_says_which_field_is_meant(paths, said):
    assert describe({"point": dict.fromkeys(paths, 1)}) == said


def test_commands_that_ask_many_runs_print_at_80_columns(small, tmp_path, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    small["workload"]["num_requests"], small["instances"] = 5, small["instances"][:1]
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(small))
    asked = ["plan", path, "--rate", 5, "--slo", "ttft=2000,tpot=50", "--tp", "1,2", "--workers", 1]
    planned = cli(*asked).stdout
    assert sum(line.startswith("h100-sxm  ") for line in planned.splitlines()) == 2 and "cheapest:" in planned
    assert max(map(len, planned.splitlines())) <= 80
    held = cli("capacity", path, "--slo", "ttft=2000,tpot=50", "--workers", 1)
    assert "more makes no difference: the run is too short to show an overload" in held.stdout
