"""Every bundled scenario, recorded, is replayed from its recording alone."""

from __future__ import annotations

import pytest
import yaml
from metronome.orchestrator.scenario.loading import bundled

from ..chaos.disturb import alone, in_processes

FILES = ("requests.csv", "timeseries.csv")


@pytest.mark.parametrize("name", bundled())
def test_it_replays(name, cli, tmp_path):
    scenario = alone(in_processes(name, 2, 60)[0])
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(scenario.model_dump(mode="json", exclude_unset=True)))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--record", "--quiet")
    assert done.exit_code == 0, done.output
    done = cli("replay", tmp_path / "out", "-o", tmp_path / "again", "--quiet")
    assert done.exit_code == 0, done.output
    for file in FILES:
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "out" / file).read_bytes()
