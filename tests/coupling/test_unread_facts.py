"""What the scenario says of a piece of hardware reaches the model that answers for it, or a warning says that it does not."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import yaml
from metronome.hwmodels.base import Config
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency
from metronome.orchestrator.coupling.components import specify
from metronome.orchestrator.errors import InputError, NoEffectWarning
from metronome.orchestrator.scenario.loading import bundled, load, validate

NODE = "cluster.nodes.n0.memory"


class SizedConfig(Config):
    bandwidth_gb_s: float
    latency_ns: float = 0
    size_gib: float


class Sized(BandwidthLatency):
    """A memory that asks for its size."""

    @classmethod
    def _config_type(cls):
        return SizedConfig


def warned(scenario):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        specs = specify(validate(scenario, "test"), Path())
    return specs, [str(one.message) for one in seen if one.category is NoEffectWarning]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: None, []),
        (
            lambda s: s["cluster"]["nodes"][0]["memory"]["dram"].update(size_gib=512),
            [f"{NODE}.dram.size_gib has no effect: bandwidth-latency, which answers for n0.dram, has no such field"],
        ),
        (
            lambda s: (
                s["cluster"]["networks"][0].update(topology="ring"),
                s.update(components={"nvlink0": {"model": "alpha-beta"}}),
            ),
            [
                "cluster.networks.nvlink0.topology has no effect: alpha-beta, which answers for nvlink0, has no such field"
            ],
        ),
        (lambda s: s["cluster"]["networks"][0].update(energy_pj_per_bit=1.0), []),
    ],
    ids=["nothing", "size of a memory", "shape of a network", "energy"],
)
def test_a_stated_fact_without_a_reader_is_named(small, change, said):
    change(small)
    assert warned(small)[1] == said


BEYOND = {"type": "infiniband-ndr"}
ONE_NODE = "cluster.networks.nvlink0.scale_out has no effect"
NO_PEERS = "components.nvlink0.custom_all_reduce has no effect"


@pytest.mark.parametrize(
    ("network", "own", "said"),
    [
        ({"type": "nvlink4", "scale_out": BEYOND}, {}, [f"{ONE_NODE}: nvlink0 connects one node"]),
        ({"scale_out": BEYOND}, {}, [f"{ONE_NODE} but that fabric answers for it: nvlink0 connects one node"]),
        ({"scale_out": BEYOND}, {"model": "fabric"}, [f"{ONE_NODE}: nvlink0 connects one node"]),
        ({"type": "nvlink4"}, {"custom_all_reduce": False}, []),
        ({"type": "nvlink5"}, {"custom_all_reduce": False}, [f"{NO_PEERS}: over nvlink5 none reads its peers' memory"]),
        (
            {},
            {"model": "fabric", "custom_all_reduce": False},
            [f"{NO_PEERS}: over links of plain figures none reads its peers' memory"],
        ),
    ],
)
def test_what_one_node_or_its_links_have_no_use_for_is_named(small, network, own, said):
    small["cluster"]["networks"][0] |= network
    small["components"] = {"nvlink0": own}
    assert warned(small)[1] == said


def test_links_between_nodes_are_used_by_two_and_by_memories_of_none(small):
    small["cluster"]["networks"][0] |= {"type": "nvlink4", "scale_out": BEYOND}
    small["cluster"]["nodes"].append({**small["cluster"]["nodes"][0], "name": "n1"})
    small["cluster"]["networks"][0]["connects"].append("n1.accelerators")
    assert warned(small)[1] == []


def test_one_device_has_no_peer(small):
    small["cluster"]["nodes"][0]["accelerators"]["count"] = 1
    small["cluster"]["networks"][0]["type"] = "nvlink4"
    small["components"] = {"nvlink0": {"custom_all_reduce": False}}
    small["instances"] = [{**small["instances"][0], "accelerators": "n0[0:1]", "tensor_parallel_size": 1}]
    assert warned(small)[1] == [f"{NO_PEERS}: no device has a peer there"]


@pytest.mark.parametrize("size", [2, 4])
def test_more_devices_than_read_one_anothers_memory_have_no_use_for_it(small, size):
    small["cluster"]["nodes"][0]["accelerators"]["count"] = 4
    small["cluster"]["networks"][0]["type"] = "pcie5-x16"
    small["components"] = {"nvlink0": {"custom_all_reduce": False}}
    small["instances"] = [{**small["instances"][0], "accelerators": f"n0[0:{size}]", "tensor_parallel_size": size}]
    why = "over pcie5-x16 an even number of up to 2 devices does so, and no instance's are"
    assert warned(small)[1] == ([] if size == 2 else [f"{NO_PEERS}: {why}"])


PIM = f"{NODE}.pim"


@pytest.mark.parametrize(
    ("pim", "own", "said"),
    [
        ({"latency_ns": 500}, {}, []),
        ({}, {"latency_ns": 1}, []),
        (
            {"latency_ns": 500},
            {"latency_ns": 1},
            [f"{PIM}.latency_ns has no effect: components.n0.pim.latency_ns is given"],
        ),
        (
            {"part": "hbm3-pim", "size_gib": 1},
            {"part": "hbm2-pim"},
            [f"{PIM}.part has no effect: components.n0.pim.part is given"],
        ),
        (
            {"part": "hbm3-pim", "size_gib": 1},
            {"ini": "p.ini"},
            [f"{PIM}.part has no effect: components.n0.pim.ini is given"],
        ),
        ({"size_gib": 1}, {"part": "hbm2-pim"}, []),
    ],
)
def test_a_fact_that_is_said_twice_is_named(small, pim, own, said):
    small["cluster"]["nodes"][0]["memory"]["pim"] = {"devices_per_accelerator": 16, **pim}
    small["components"] = {"n0.pim": own}
    assert warned(small)[1] == said


def test_there_is_one_word_for_how_many_pim_devices_there_are(small):
    """`devices` of the model would say it of time alone; K and V have the room of the node's."""
    small["cluster"]["nodes"][0]["memory"]["pim"] = {"devices_per_accelerator": 16}
    small["components"] = {"n0.pim": {"devices": 1}}
    with pytest.raises(InputError, match=r"components.n0.pim.devices = 1: .*devices_per_accelerator says how many"):
        warned(small)


def test_a_model_that_asks_for_a_size_is_given_it(small):
    small["cluster"]["nodes"][0]["memory"]["dram"]["size_gib"] = 512
    small["components"] = {"n0.dram": {"model": f"{__name__}:Sized"}}
    specs, said = warned(small)
    assert not said and next(s for s in specs if s.name == "n0.dram").config["size_gib"] == 512


def test_no_bundled_scenario_says_what_nobody_reads():
    for name in bundled():
        assert not warned(load(name)[0].model_dump(mode="json", exclude_unset=True))[1], name


def test_the_command_says_it_in_one_line(small, cli, tmp_path):
    small["cluster"]["nodes"][0]["memory"]["dram"]["size_gib"] = 512
    small["start_up"] = {"base_s": 1}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("validate", tmp_path / "s.yaml")
    assert done.exit_code == 0 and f"metronome: warning: {NODE}.dram.size_gib has no effect" in done.output
    assert "start_up has no effect" in cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out").output
    assert "no effect" not in cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet").output
