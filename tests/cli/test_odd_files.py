"""Files that are not what they are taken for: one message, exit 2, soon; and what was there before is still there."""

from __future__ import annotations

import csv
import json
import os

import pytest
import yaml


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("!!int", "malformed: tag:yaml.org,2002:int"),
        ('!!float ""', "malformed: tag:yaml.org,2002:float"),
        ("!!timestamp x", "malformed: tag:yaml.org,2002:timestamp"),
        ("010", "means different numbers"),
        ("1:30", "means different numbers"),
        ("1" + "0" * 400, "too many digits"),
        ("1" + "0" * 30, "more than 64 bits"),
        ("yes", "seed = true: must be a number"),
    ],
)
def test_numbers_that_are_none(cli, small, tmp_path, value, told):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(small | {"seed": 77}).replace("seed: 77", f"seed: {value}"))
    for asked in (("validate", path), ("validate", "quickstart", "--set", f"seed={value}")):
        done = cli(*asked)
        assert (done.exit_code, told in done.output) == (2, True), done.output


def test_whole_numbers_are_what_they_were(cli, small, tmp_path):
    path = tmp_path / "s.yaml"
    for value in ("0", "7", "+7", "0x10", "1_000"):
        path.write_text(yaml.safe_dump(small | {"seed": 77}).replace("seed: 77", f"seed: {value}"))
        assert cli("validate", path).exit_code == 0


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "[" * 100_000,
        '{"metronome": []}',
        '{"metronome": {"status": "complete", "components": [1]}}',
        '{"metronome": {"status": "complete", "energy_by_part_j": [1]}}',
        '{"metronome": {"status": "complete"}, "duration": "long"}',
    ],
)
def test_results_of_another_shape(cli, small, tmp_path, content):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "good", "--quiet").exit_code == 0
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "bad", "--quiet").exit_code == 0
    (tmp_path / "bad/result.json").write_text(content)
    pairs = (("compare", tmp_path / "good"), ("report",), ("report", "--format", "aiperf"))
    for command in pairs:
        done = cli(*command, tmp_path / "bad")
        assert (done.exit_code, "result.json" in done.output) == (2, True), done.output


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "\n".join(["l0: &l0 [x]"] + [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 13)]),
    ],
)
def test_manifests_that_hold_themselves(cli, tmp_path, text):
    (tmp_path / "m.yaml").write_text(text)
    done = cli("import", "vllm", "-o", tmp_path / "v.yaml", "--from", tmp_path / "m.yaml")
    assert (done.exit_code, "aliases written out" in done.output) == (2, True), done.output


def test_a_pipe_is_no_workload(cli, small, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for workload in ({"format": "llmservingsim", "path": "pipe"}, {"path": "pipe"}, {"path": "/dev/zero"}):
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(small | {"workload": workload}))
        assert cli("validate", tmp_path / "s.yaml").exit_code == 2


def test_more_devices_than_there_are(cli, tmp_path):
    served = ("serve", "meta-llama/Llama-3.1-8B", "--tensor-parallel-size", 10**9)
    done = cli("import", "vllm", "-o", tmp_path / "v.yaml", "--", *served)
    assert (done.exit_code, "at most 65536" in done.output) == (2, True), done.output


def test_a_folder_in_the_way_is_found_before_anything_goes(cli, small, tmp_path):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    (tmp_path / "out/report.html").mkdir(parents=True)
    (tmp_path / "out/requests.csv").write_text("mine")
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out")
    assert (done.exit_code, "is a folder" in done.output) == (2, True), done.output
    assert (tmp_path / "out/requests.csv").read_text() == "mine"


def test_a_port_is_a_port(cli):
    done = cli("serve-component", "bandwidth-latency", "--listen", "127.0.0.1:99999", "--insecure")
    assert (done.exit_code, "0 to 65535" in done.output) == (2, True), done.output


def test_a_run_of_weeks_has_as_many_rows_as_a_day(cli, small, tmp_path):
    small["workload"] = {**small["workload"], "num_requests": 3, "request_rate": 2e-6}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet")
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "out/result.json").read_text())
    rows = list(csv.DictReader((tmp_path / "out/timeseries.csv").open()))
    width, end = int(rows[0]["t"]), result["metronome"]["simulated_s"]
    assert end > 200_000 and 50_000 < len(rows) <= 100_000 and width == int(rows[1]["t"]) - width > 1
    lasted = [width] * (len(rows) - 1) + [end - width * (len(rows) - 1)]
    spent = sum(float(row["power_w"]) * seconds for row, seconds in zip(rows, lasted, strict=True))
    assert spent == pytest.approx(result["metronome"]["energy_j"], rel=1e-4)


def test_what_would_come_after_the_end_of_time_is_said(cli, small, tmp_path):
    small["workload"] = {**small["workload"], "num_requests": 3, "request_rate": 1e-300}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet")
    assert (done.exit_code, "where time ends" in done.output) == (2, True), done.output
