"""TLM-2.0 targets in runs: as memories of hosts and devices, wherever they run; and the page's own target."""

from __future__ import annotations

import json
import re
import shlex
import time

import pytest
import yaml
from metronome.adapters.systemc import SystemC

from ..conftest import ROOT, need_tool
from .test_systemc import BURST, READ, TEMPLATES, ends, targets, tool  # noqa: F401  # fixtures

PAGE = (ROOT / "docs" / "adapters.md").read_text().split("## Your TLM-2.0 model")[1].split("\n## ")[0]
ONE_BANK = {"outstanding": 1, "burst_bytes": 1 << 20}  # what `bandwidth-latency` is: one transfer after another
WIRES = [{"from": "n0.accelerators.mem", "to": "n0.hbm"}]
WHERE = {"inprocess": {}, "process": {"run": "process", "on_failure": "fail"}}
ARRAY = {"model": "systolic-mem", "most_tiles": 4}


@pytest.fixture
def of(small, tmp_path, monkeypatch):
    """A scenario of few requests, by its components."""
    need_tool("systemc")
    monkeypatch.setenv("METRONOME_CACHE", str(tmp_path / "cache"))
    small["workload"] |= {"num_requests": 10, "output_tokens": {"mean": 10}}

    def scenario(requests=10, **components):
        wired = {"wires": WIRES} if "accelerators" in components else {}
        named = {f"n0.{name}": options for name, options in components.items()}
        return {**small, "workload": {**small["workload"], "num_requests": requests}, "components": named, **wired}

    return scenario


def run(cli, folder, scenario, name):
    """(bytes of the requests' times, figures of the components)."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(scenario))
    done = cli("run", path, "-o", folder / name, "--quiet")
    assert done.exit_code == 0, done.output
    result = json.loads((folder / name / "result.json").read_text())
    return (folder / name / "requests.csv").read_bytes(), result["metronome"]["components"]


@pytest.mark.parametrize("model", ["systemc", "systemc-lasting"])
def test_a_host_s_memory_is_the_same_bytes_twice_and_in_a_process(cli, tmp_path, of, model):
    """Two instances meet there. With fewer banks it is another memory."""
    memory = {"model": model, "settings": {"bandwidth_gb_s": 100}}
    found = {}
    for name, options in {"here": {}, "again": {}, "apart": {"run": "process"}}.items():
        rows, figures = run(cli, tmp_path, of(dram={**memory, **options}), name)
        found[name] = rows, figures["n0.dram"]["statistics"]
    assert found["here"] == found["again"] == found["apart"]
    assert found["here"][1]["read_bytes"] > 10**4
    one, _ = run(cli, tmp_path, of(dram={"model": model, "settings": {"bandwidth_gb_s": 100, "banks": 1}}), "one")
    assert one != found["here"][0]


@pytest.mark.parametrize("model", ["systemc", "systemc-lasting"])
def test_one_bank_asked_for_a_transfer_at_a_time_is_the_reference_model(cli, tmp_path, of, model):
    settings = {"banks": 1, "access_ns": 90, "bandwidth_gb_s": 100}
    theirs, _ = run(cli, tmp_path, of(dram={"model": model, **ONE_BANK, "settings": settings}), "theirs")
    reference, _ = run(cli, tmp_path, of(dram={"bandwidth_gb_s": 100, "latency_ns": 90}), "reference")
    assert theirs == reference


def test_behind_a_port_it_is_the_reference_model_wherever_it_runs(cli, tmp_path, of):
    """`systolic-mem` asks for 4096 bytes at most: one burst."""
    settings = {"banks": 1, "access_ns": 20, "bandwidth_gb_s": 512}
    memory = {"model": "systemc", **ONE_BANK, "settings": settings}
    reference = {"model": "bandwidth-latency", "latency_ns": 20, "bandwidth_gb_s": 512}
    places = {"here": ("inprocess", "inprocess"), "apart": ("process", "process"), "together": ("process", "island")}
    found = {}
    for name, (array, hbm) in places.items():
        scenario = of(2, accelerators={**ARRAY, "run": array}, hbm={**memory, "run": hbm})
        found[name], figures = run(cli, tmp_path, scenario, name)
        assert figures["n0.accelerators"]["statistics"]["island"]["messages"] > 1000
    expected, _ = run(cli, tmp_path, of(2, accelerators=ARRAY, hbm=reference), "reference")
    assert set(found.values()) == {expected}


def test_as_a_device_s_memory_it_is_the_reference_model(cli, tmp_path, of):
    """A burst of 1 MiB takes whole picoseconds, so what is left is rounded once, as there."""
    settings = {"banks": 1, "access_ns": 0, "bandwidth_gb_s": 1024, "stripe_bytes": 1 << 20}
    theirs, _ = run(cli, tmp_path, of(3, hbm={"model": "systemc", **ONE_BANK, "settings": settings}), "theirs")
    reference, _ = run(cli, tmp_path, of(3, hbm={"bandwidth_gb_s": 1024, "latency_ns": 0}), "reference")
    assert theirs == reference


def test_one_that_keeps_its_state_stands_behind_no_port(cli, tmp_path, of):
    path = tmp_path / "s.yaml"
    for components in (
        {"accelerators": ARRAY, "hbm": {"model": "systemc-lasting"}},
        {"hbm": {"model": "systemc-lasting"}},
    ):
        path.write_text(yaml.safe_dump(of(2, **components)))
        done = cli("run", path, "-o", tmp_path / "o", "--quiet")
        assert done.exit_code == 2 and "systemc-lasting remembers" in done.output, done.output


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("never", "the target never answers"),
        ("forever", "did not answer within 2 s|gave no answer for 2 s"),
        ("fatal", "SC_FATAL of odd: out of sand"),
        ("crashes", "killed by SIGABRT"),
    ],
)
def test_a_target_that_fails_ends_the_run_with_its_name(cli, tmp_path, of, targets, fault, why, where):  # noqa: F811
    memory = {"model": "systemc-lasting", "program": targets, "settings": {"target": fault}, "timeout_s": 2}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(of(dram={**memory, **WHERE[where]})))
    began = time.monotonic()
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "o", "--quiet")
    assert done.exit_code == 3 and "n0.dram" in done.output and re.search(why, done.output), done.output
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"program": "./nothing"}, "program = .*nothing'.*no such program"),
        ({"settings": {"bank": 3}}, "settings.bank = 3.* it knows access_ns, bandwidth_gb_s, banks, stripe_bytes"),
        ({"settings": {"target": 7}, "run": "process"}, "settings.target"),
    ],
)
def test_what_cannot_be_is_refused_before_time_0(cli, tmp_path, of, options, why):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(of(dram={"model": "systemc", **options})))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "o", "--quiet")
    assert done.exit_code == 2 and re.search(why, done.output), done.output


def blocks(language):
    return [text for of, text in re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.S | re.M) if of == language]


def test_the_page_s_target_is_built_checked_and_run_by_the_page_s_commands(cli, tmp_path, of, monkeypatch):
    """As it stands there, and it takes what its lines say."""
    monkeypatch.chdir(tmp_path)
    (source,), (commands, *_), (component,) = blocks("cpp"), blocks(""), blocks("yaml")
    (tmp_path / "my_memory.cc").write_text(source)
    (tmp_path / "my-memory.yaml").write_text("program: ./my-memory\n")
    for line in commands.splitlines():
        done = cli(*shlex.split(line, comments=True)[1:])
        assert done.exit_code == 0, done.output
    memory = SystemC({"program": "./my-memory", "settings": {"hit_ns": 20}})
    memory.declare(TEMPLATES)
    # 64 bytes at 25.6 GB/s; of a row, 8 KiB, each further burst is a hit and its time on the bus
    alone, row = ends(memory, (0, READ, (BURST,)), (10**9, READ, (128 * BURST,)))
    assert (alone, row) == (45_000 + 2500, 10**9 + 47_500 + 127 * 22_500)
    options = yaml.safe_load(component)["components"]["n0.dram"]
    run(cli, tmp_path, of(dram=options), "s")


@pytest.mark.parametrize(
    ("name", "source", "why"),
    [
        ("ns3", "", "not built of sources of yours; systemc is"),
        ("tlm", "", "one of scalesim, "),
        ("systemc", "nonsense", "g\\+\\+ failed:(.|\n)*nonsense"),
    ],
)
def test_what_cannot_be_built_is_one_message(cli, tmp_path, name, source, why):
    if source:
        need_tool("systemc")
    (tmp_path / "t.cc").write_text(source)
    done = cli("tools", "build", name, tmp_path / "t.cc", "-o", tmp_path / "t")
    assert done.exit_code == 2 and re.search(why, done.output), done.output
    assert not (tmp_path / "t").exists()


def test_it_is_listed(cli):
    assert re.search(r"^systemc  .*TLM-2.0", cli("tools", "list").output, re.M)
