"""Networks of ASTRA-sim's files: what they say here, and what cannot be said."""

from __future__ import annotations

import json

import pytest
import yaml
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.loading import load, of_mapping
from metronome.orchestrator.scenario.network_files import GIB_S as GIB

from ..conftest import SHARED, missing


def scenario(tmp_path, net, counts=(8,), **said):
    """A scenario with a network of that file among nodes of so many devices."""
    nodes = [{"name": f"n{i}", "accelerators": {"type": "h100-sxm", "count": n}} for i, n in enumerate(counts)]
    connects = [f"{node['name']}.accelerators" for node in nodes]
    workload = {"num_requests": 1, "request_rate": 1, "input_tokens": {"mean": 64}, "output_tokens": {"mean": 8}}
    content = {
        "workload": {"format": "synthetic", **workload},
        "cluster": {"nodes": nodes, "networks": [{"name": "net", "connects": connects, "file": "net.yml", **said}]},
        "instances": [
            {
                "name": "chat",
                "model": "meta-llama/Llama-3.1-8B",
                "accelerators": [f"{node['name']}[0:{node['accelerators']['count']}]" for node in nodes],
                "tensor_parallel_size": 2,
                "data_parallel_size": sum(counts) // 2,
            }
        ],
    }
    (tmp_path / "net.yml").write_text(net if isinstance(net, str) else yaml.safe_dump(net))
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "s.yaml"


def net(*rows):
    return dict(
        zip(("topology", "npus_count", "bandwidth", "latency"), map(list, zip(*rows, strict=True)), strict=True)
    )


@pytest.mark.parametrize(
    ("rows", "counts", "expected"),
    [
        ([("Switch", 8, 400.0, 936.25)], (8,), ("switch", [], 400 * GIB, 1872.5, None)),
        ([("Ring", 8, 50, 500)], (8,), ("ring", [], 100 * GIB, 500, None)),
        ([("FullyConnected", 4, 50, 500)], (4,), ("fully-connected", [], 150 * GIB, 500, None)),
        ([("Ring", 4, 50, 500), ("Ring", 2, 50, 500)], (8,), ("torus", [2, 4], 150 * GIB, 500, None)),
        ([("Ring", 4, 50, 500), ("Switch", 2, 10, 900)], (4, 4), ("ring", [], 100 * GIB, 500, (10 * GIB, 1800))),
    ],
)
def test_dimensions_are_what_they_are_there(tmp_path, rows, counts, expected):
    found, _ = load(str(scenario(tmp_path, net(*rows), counts)))
    (one,) = found.cluster.networks
    out = one.scale_out and (one.scale_out.bandwidth_gb_s, one.scale_out.latency_ns)
    assert (one.topology, one.dims, one.bandwidth_gb_s, one.latency_ns, out) == expected
    assert one.scale_out is None or one.scale_out.topology == "rail-optimised"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (net(("Ring", 4, 50, 500)), "npus_count .* must be the accelerators that it connects, here 1 nodes of 8"),
        (net(("Mesh", 8, 50, 500)), "topology = 'Mesh': must be one of Ring"),
        (net(("Ring", 2, 50, 500), ("FullyConnected", 4, 50, 500)), "beyond one dimension: all Ring alike"),
        (net(("Ring", 8, -1, 500)), "bandwidth = -1"),
        (net(("Ring", 8, True, 500)), "bandwidth = True"),
        (net(("Ring", 1, 1, 500)), "npus_count = 1: must be 2 or more"),
        ({**net(("Ring", 8, 1, 1)), "latencies": []}, "latencies: unknown key; did you mean 'latency'"),
        ({"topology": ["Ring"], "npus_count": [8]}, "must be lists of one length"),
        ("[", "net.yml"),
        ("- 1", "must be a mapping"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, text, why):
    with pytest.raises(InputError, match=why):
        load(str(scenario(tmp_path, text)))


def test_the_file_says_all_of_it(tmp_path):
    path = scenario(tmp_path, net(("Ring", 8, 50, 500)), bandwidth_gb_s=1)
    with pytest.raises(InputError, match="networks.0.bandwidth_gb_s = 1: is the file's"):
        load(str(path))


def test_a_dictionary_may_name_a_file_too(tmp_path, monkeypatch):
    path = scenario(tmp_path, net(("Ring", 8, 50, 500)))
    monkeypatch.chdir(tmp_path)
    found = of_mapping(yaml.safe_load(path.read_text()))
    assert found.cluster.networks[0].topology == "ring"


@pytest.mark.parametrize(("field", "value"), [("file", 5), ("dims", [0, 4])])
def test_no_path_and_no_torus_are_refused(tmp_path, field, value):
    content = yaml.safe_load(scenario(tmp_path, net(("Ring", 8, 50, 500))).read_text())
    content["cluster"]["networks"][0] |= {field: value}
    if field == "dims":
        del content["cluster"]["networks"][0]["file"]
    with pytest.raises(InputError, match=rf"networks\.0\.{field}"):
        of_mapping(content)


def test_a_file_that_is_not_there_is_said(tmp_path):
    path = scenario(tmp_path, "")
    (tmp_path / "net.yml").unlink()
    with pytest.raises(InputError, match=r"net.yml.* file: cannot be read"):
        load(str(path))


def test_a_run_of_recorded_files(cli, tmp_path):
    """The networks of real runs of ASTRA-sim are read, and serve."""
    folder = SHARED / "recorded/astrasim"
    if not folder.is_dir():
        missing("the recorded runs of ../shared/data", "SHARED")
    text = (folder / "ar8_16MB/net.yml").read_text()
    done = cli("run", scenario(tmp_path, text), "--quiet", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "out/result.json").read_text())["completed"] == 1
