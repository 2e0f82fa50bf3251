"""The checks catch what breaks the contract, and nothing else; the command tells it."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET

import pytest
import yaml
from metronome.adapters.conformance import faulty
from metronome.adapters.conformance.faulty_asker import Asker
from metronome.adapters.conformance.report import run_checks
from metronome.adapters.conformance.sessions import local

MODELS = {"Faulty": faulty.Faulty, "FaultyOracle": faulty.FaultyOracle, "Asker": Asker}


def failed(model, fault, limit_s=30.0):
    return {
        r.check: r.problem for r in run_checks(lambda: local(MODELS[model], {"fault": fault}), limit_s) if r.problem
    }


@pytest.mark.parametrize("fault", [name for name in faulty.FAULTS if name != "hangs"])
def test_every_planted_fault_is_caught_by_the_check_it_breaks(fault):
    planted = faulty.FAULTS[fault]
    found = failed(planted.model, fault)
    assert planted.caught_by in found, found


def test_a_component_that_hangs_is_caught(monkeypatch):
    monkeypatch.setattr(faulty, "HANG_S", 3.0)
    found = failed("FaultyOracle", "hangs", limit_s=0.2)
    assert "is not done after 0.2 s" in found["completes_everything"]


def test_there_are_enough_faults_and_every_check_has_one():
    from metronome.adapters.conformance import CHECKS

    assert len(faulty.FAULTS) >= 20
    assert {fault.caught_by for fault in faulty.FAULTS.values()} == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize("model", MODELS)
def test_without_a_fault_nothing_is_found(model):
    assert failed(model, "") == {}


def test_the_command_reports_in_process_and_over_grpc_and_frames(cli, tmp_path):
    (tmp_path / "c.yaml").write_text("{bandwidth_gb_s: 100, latency_ns: 50}")
    done = cli("conformance", "bandwidth-latency", "--config", tmp_path / "c.yaml", "--junit", tmp_path / "r.xml")
    assert done.exit_code == 0 and "42 of 42 checks passed" in done.output
    suites = ET.parse(tmp_path / "r.xml").getroot()
    ways = ("in process", "over gRPC", "over frames")
    assert [s.get("name") for s in suites] == [f"bandwidth-latency {way}" for way in ways]
    assert all(s.get("failures") == "0" and len(s) == 14 for s in suites)


def test_the_command_names_what_fails(cli, tmp_path):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"fault": "promises-nothing"}))
    done = cli(
        "conformance",
        "metronome.adapters.conformance.faulty:Faulty",
        "--config",
        tmp_path / "c.yaml",
        "--junit",
        tmp_path / "r.xml",
    )
    assert done.exit_code == 1
    assert "FAIL  next_event_is_honoured: 3 operations outstanding and no next event promised" in done.output
    assert 'failures="1"' in (tmp_path / "r.xml").read_text()


def test_a_command_that_serves_is_checked(cli, tmp_path):
    serve = f"{sys.executable} -m metronome serve-component alpha-beta --listen unix:{tmp_path}/c.sock"
    (tmp_path / "c.yaml").write_text("{bandwidth_gb_s: 100, latency_ns: 500}")
    done = cli("conformance", "--cmd", serve, "--config", tmp_path / "c.yaml")
    assert done.exit_code == 0 and "28 of 28 checks passed" in done.output


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        ((), 2, "exactly one of them"),
        (("fabric", "--address", "unix:/x"), 2, "exactly one of them"),
        (("nobody",), 2, "one of aiconfigurator"),
        (("roofline",), 2, "device"),
        (("--cmd", "/no/such/program"), 2, "cannot be started"),
        (("--cmd", "echo hello"), 3, "instead of the handshake line"),
    ],
)
def test_bad_usage(cli, arguments, code, why):
    done = cli("conformance", *arguments)
    assert done.exit_code == code and why in done.output
