"""What the energy costs and emits."""

from __future__ import annotations

from copy import deepcopy

import metronome
import numpy as np
import pytest
from metronome.orchestrator.power.electricity import total
from metronome.orchestrator.scenario.power import Electricity

from .test_ledger import SCENARIO


def test_each_second_has_the_rate_that_holds_in_it():
    joules = np.array([3.6e6, 3.6e6, 7.2e6])
    assert total(0.5, joules) == pytest.approx(2)
    assert total([(0, 1.0), (2, 10.0)], joules) == pytest.approx(2 + 20)
    assert total([(0, 1.0), (9, 10.0)], joules) == pytest.approx(4)
    assert total(1.0, joules[:0]) == 0


def test_a_run_is_billed():
    scenario = deepcopy(SCENARIO)
    scenario["cluster"]["electricity"] = {"usd_per_kwh": 0.1, "g_co2_per_kwh": [[0, 300], [1, 400]]}
    own = metronome.run(scenario)["metronome"]
    found, kwh = own["electricity"], own["energy_j"] / 3.6e6
    assert found["usd"] == pytest.approx(0.1 * kwh)
    assert 300 * kwh < found["g_co2"] < 400 * kwh


@pytest.mark.parametrize("steps", [[], [[1, 0.1]], [[0, 0.1], [5, 0.2], [5, 0.3]], [[0, -1]], [[0.5, 1]]])
def test_rates_that_are_none_are_refused(steps):
    with pytest.raises(ValueError, match="usd_per_kwh"):
        Electricity.model_validate({"usd_per_kwh": steps})


def test_a_step_begins_with_a_whole_second():
    with pytest.raises(ValueError, match=r"a step is \[second, rate\], of a whole second; \[0.5, 1\] is not"):
        Electricity.model_validate({"usd_per_kwh": [[0, 2], [0.5, 1]]})
