import pytest
from metronome.hwmodels.accelerator.profiled.tables import Curve
from metronome.hwmodels.interface import Provenance
from metronome.orchestrator.report.uncertainty import DEFAULT, error_bars, relative_error


def test_errors_are_weighed_by_the_time_they_concern():
    parts = {
        "a": ({Provenance.MEASURED: 900, Provenance.INTERPOLATED: 100}, {"relative_error": {"interpolated": 0.5}}),
        "b": ({Provenance.MODELLED: 1000}, {}),
    }
    expected = (900 * DEFAULT[Provenance.MEASURED] + 100 * 0.5 + 1000 * DEFAULT[Provenance.MODELLED]) / 2000
    assert relative_error(parts) == pytest.approx(expected)


def test_nothing_done_has_no_error_bars():
    assert relative_error({"a": ({}, {})}) is None
    assert error_bars(None, {"mean_ttft_ms": 1.0}) is None


def test_an_interval_holds_its_mean():
    assert error_bars(0.1, {"mean_ttft_ms": 50.0, "mean_tpot_ms": None}) == {
        "relative": 0.1,
        "mean_ttft_ms": [45.0, pytest.approx(55.0)],
        "mean_tpot_ms": None,
    }


def test_a_point_left_out_of_a_straight_line_is_found_again():
    assert Curve({1: 10.0, 2: 20.0, 4: 40.0}).left_out() == [pytest.approx(0)]
    assert Curve({1: 10.0, 2: 10.0, 3: 30.0}).left_out() == [pytest.approx(1.0)]
