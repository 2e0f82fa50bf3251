"""Every reference model keeps the contract, in process and over gRPC."""

from __future__ import annotations

import grpc
import pytest
from metronome.adapters.conformance import CHECKS
from metronome.adapters.conformance.sessions import local, over_wire
from metronome.adapters.host.server import start
from metronome.component.v1.codec import CHANNEL_OPTIONS
from metronome.orchestrator.coupling import registry

from . import bundles

CONFIGS = {
    "roofline": {"device": "h100-sxm"},
    "alpha-beta": {"bandwidth_gb_s": 100, "latency_ns": 500},
    "fabric": {
        "groups": [{"name": "n0", "count": 4}],
        "bandwidth_gb_s": 100,
        "latency_ns": 500,
        "energy_pj_per_bit": 2,
    },
    "bandwidth-latency": {"bandwidth_gb_s": 100, "latency_ns": 50, "energy_pj_per_bit": 3},
    "banked-dram": {"part": "ddr5-4800", "energy_pj_per_bit": 3},
    "dram-pim": {"devices": 1},
    "systolic": {"dataflow": "os"},
    "systolic-mem": {"request_bytes": 65_536},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """name -> channel to a server of that model, started when first asked for."""
    servers, channels = [], {}

    def channel(name):
        if name not in channels:
            address = f"unix:{tmp_path_factory.mktemp('s')}/{name[:4]}"
            servers.append(start(registry.find(name), address)[0])
            channels[name] = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        return channels[name]

    yield channel
    for open_channel in channels.values():
        open_channel.close()
    for server in servers:
        server.stop(None)


def test_every_registered_model_is_covered():
    elsewhere = {
        "profiled",
        "scalesim",
        "ns3",
        "aiconfigurator",
        "aiconfigurator-network",
        "astrasim",
        "dramsim3",
        "dramsim3-library",
        "ramulator2",
        "booksim2",
        "attacc",
        "aim",
        "composite",
        "fmi",
        "fmi-network",
        "island",
        "systemc",
        "systemc-lasting",
        "verilator",
        "verilator-mem",
    }  # below; tests/adapters
    assert {*CONFIGS, *elsewhere} == set(registry.names())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CONFIGS)
def test_in_process(name, check):
    check(local(registry.find(name), CONFIGS[name]))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CONFIGS)
def test_over_grpc(served, name, check):
    check(over_wire(served(name), CONFIGS[name]))


@pytest.fixture
def profiled_subject(tmp_path):
    """`profiled` needs to know whose layers it is asked for: the checks' templates get that."""
    bundles.write(tmp_path)
    return local(registry.find("profiled"), {"bundle": str(tmp_path)}, {"model": "meta-llama/Llama-3.1-8B", "tp": 1})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_profiled(profiled_subject, check):
    check(profiled_subject)
