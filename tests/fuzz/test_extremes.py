"""Numbers that no cluster has, in place of each number of a scenario: one message, or a run that begins."""

from __future__ import annotations

from copy import deepcopy

import pytest
import yaml
from metronome.orchestrator.errors import MetronomeError
from metronome.orchestrator.scenario.loading import as_yaml, load, of_mapping
from metronome.orchestrator.simulation import Simulation

from ..conftest import ROOT

EXTREMES = (1e300, 1e-300, 10**18, -1, 0)


def numbers(data, path=()):
    """Where they are."""
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from numbers(value, (*path, key))
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield path


def changed(data, path, value):
    data = spot = deepcopy(data)
    for key in path[:-1]:
        spot = spot[key]
    spot[path[-1]] = value
    return data


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["failover", "kv-pools", "mixed-fleet"])
def test_every_number_may_be_beyond_reason(name):
    scenario, _ = load(name)
    content = yaml.safe_load(as_yaml(scenario))  # every default written out
    content["workload"]["num_requests"] = 2
    refused = 0
    for path in numbers(content):
        for value in EXTREMES:
            if path == ("workload", "num_requests") and value > 2:
                continue  # as many requests as there are to be
            try:
                with Simulation(of_mapping(changed(content, path, value)), ROOT / "scenarios"):
                    pass
            except MetronomeError:
                refused += 1
            except BaseException as error:
                raise AssertionError(f"{'.'.join(map(str, path))} = {value}") from error
    assert refused > 100
