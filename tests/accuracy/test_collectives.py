import numpy as np
import pytest
from metronome.hwmodels.interface import ConfigError
from metronome.hwmodels.network.fabric import Fabric

from .collectives import XGMI, errors, rccl_cases, rows


def test_collectives_are_within_15_percent_of_measurements_in_the_median_and_40_at_p90(shared):
    for row in rows(shared):
        assert row.median <= 0.15 and row.p90 <= 0.40, row


def test_all_reduces_of_eight_mi300x_are_within_10_percent_of_the_printed_ones():
    off, _ = errors(XGMI, rccl_cases())
    assert np.median(np.abs(off)) <= 0.05 and np.percentile(np.abs(off), 90) <= 0.10, off


def test_a_device_has_seven_links_however_many_others_there_are():
    """TransferBench, on the same page: 45.1 to 47.2 GB/s a link."""
    layouts = [{}, {"topology": "ring"}, {"topology": "torus", "dims": [2, 2]}]
    for count, layout in [(2, {}), (8, {}), *((4, layout) for layout in layouts)]:
        fabric = Fabric({**XGMI, **layout, "groups": [{"name": "n0", "count": count}]})
        assert {round(link.bytes_per_s / 1e9) for link in fabric._graph.links} == {45}
    with pytest.raises(ConfigError, match="a device has 7 links of xgmi3, and 8 others"):
        Fabric({**XGMI, "groups": [{"name": "n0", "count": 9}]})
