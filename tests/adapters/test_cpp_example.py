"""The contract in another language: the examples in C++ keep it, and answer as models in Python do."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import deque

import pytest
import yaml
from metronome.hwmodels.accelerator.roofline import Roofline
from metronome.hwmodels.base import Config
from metronome.hwmodels.interface import Description, Feature, Operation, Template, TimePolicy
from metronome.hwmodels.ports import Port
from metronome.hwmodels.reactive import ReactiveModel

from ..conftest import ROOT, missing

EXAMPLE = ROOT / "adapters" / "examples" / "cpp"


class RowGather(ReactiveModel[Config]):
    """What the example says of itself, said a second time."""

    description = Description(
        name="gather",
        kind="accelerator",
        version="1",
        time_policy=TimePolicy.FORWARD_ONLY,
        op_kinds=Roofline.description.op_kinds,
        features=frozenset({Feature.PORTS}),
        ports=(Port("mem", "memory", (Template(0, "load", "row"),), latency_ps=5000, credits=8),),
    )
    waiting: deque[Operation]

    def started(self, operation):
        self.waiting = getattr(self, "waiting", deque())
        self.waiting.append(operation)
        if len(self.waiting) == 1:
            self.begin()

    def begin(self):
        self.began_ps, self.left = self.now_ps, max(1, self.waiting[0].values[0])
        for row in range(self.left):
            self.ask("mem", 0, (64, 64 * row), None)

    def returned(self, what, answer):
        self.left -= 1
        if not self.left:
            self.complete(self.waiting[0].op_id, self.began_ps, self.now_ps + 1000)
            self.later(self.now_ps + 1000, "next")

    def fired(self, what):
        self.waiting.popleft()
        if self.waiting:
            self.begin()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if not shutil.which("g++") or not shutil.which("grpc_cpp_plugin"):
        missing("g++, libgrpc++-dev, libprotobuf-dev, protobuf-compiler-grpc")
    folder = tmp_path_factory.mktemp("cpp")
    made = subprocess.run(["make", "-s", "-C", EXAMPLE, f"OUT={folder}"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return folder / "memory-queue"


@pytest.mark.parametrize("name", ["memory-queue", "row-gather"])
def test_it_keeps_the_contract(program, cli, name):
    done = cli("conformance", "--cmd", program.with_name(name), "--config", EXAMPLE / f"{name}.yaml")
    assert done.exit_code == 0 and "14 of 14" in done.output, done.output


@pytest.mark.parametrize(
    "hbm", [{"model": "bandwidth-latency", "bandwidth_gb_s": 5}, {"model": "banked-dram", "part": "hbm2-2000"}]
)
def test_one_with_a_port_asks_as_a_model_in_python_does(program, cli, small, tmp_path, hbm):
    """The same times, messages and windows, whichever is wired to the memory."""
    small["workload"] |= {"num_requests": 3, "output_tokens": {"mean": 5}}
    small["wires"] = [{"from": "n0.accelerators.mem", "to": "n0.hbm"}]
    found = {}
    for name, array in (
        ("python", {"model": f"{__name__}:RowGather"}),
        ("cpp", {"run": "command", "command": [str(program.with_name("row-gather"))]}),
    ):
        small["components"] = {"n0.accelerators": array, "n0.hbm": hbm}
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
        done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / name, "--quiet")
        assert done.exit_code == 0, done.output
        result = json.loads((tmp_path / name / "result.json").read_text())
        island = result["metronome"]["components"]["n0.accelerators"]["statistics"]["island"]
        found[name] = (tmp_path / name / "requests.csv").read_bytes(), island
    assert found["python"] == found["cpp"]
    assert found["cpp"][1]["messages"] > 1000


def test_in_a_scenario_it_is_as_good_as_the_reference_model(program, cli, small, tmp_path):
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        socket = process.stdout.readline().split("|")[3]
        for name, options in (
            ("reference", {}),
            (
                "cpp",
                {"run": "address", "address": {"target": f"unix:{socket}"}, "bandwidth_gb_s": 100, "latency_ns": 90},
            ),
        ):
            small["components"] = {"n0.dram": options}
            (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
            done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / name, "--quiet")
            assert done.exit_code == 0, done.output
        process.stdin.close()
        assert process.wait(10) == 0
    assert (tmp_path / "reference/requests.csv").read_bytes() == (tmp_path / "cpp/requests.csv").read_bytes()


@pytest.mark.parametrize("bandwidth", [100, 25.6])
def test_a_run_starts_it_and_ends_it(program, cli, small, tmp_path, bandwidth):
    """25.6 GB/s: another rounding is another picosecond."""
    dram = {"bandwidth_gb_s": bandwidth, "latency_ns": 90}
    for name, options in (
        ("reference", dram),
        ("own-socket", {"run": "command", "command": [str(program)], **dram}),
        ("given", {"run": "command", "command": ["./memory-queue", "{listen}"], **dram}),
    ):
        small["components"] = {"n0.dram": options}
        folder = program.parent if name == "given" else tmp_path
        (folder / "s.yaml").write_text(yaml.safe_dump(small))
        done = cli("run", folder / "s.yaml", "-o", tmp_path / name, "--quiet")
        assert done.exit_code == 0, done.output
    assert not subprocess.run(["pgrep", "-f", program], capture_output=True).stdout
    reference = (tmp_path / "reference/requests.csv").read_bytes()
    assert reference == (tmp_path / "own-socket/requests.csv").read_bytes()
    assert reference == (tmp_path / "given/requests.csv").read_bytes()


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        ({"run": "command"}, 2, "run: command needs command"),
        ({"run": "command", "command": ["x"], "model": "fabric"}, 2, "run: command has no model"),
        ({"run": "command", "command": ["./nothing"]}, 2, "cannot be started: No such file"),
        ({"run": "command", "command": ["echo", "hello"]}, 3, "said 'hello' instead of the handshake line"),
        ({"run": "command", "command": ["false"]}, 3, "exited with code 1"),
    ],
)
def test_a_program_that_cannot_be_started_is_one_message(cli, small, tmp_path, options, code, why):
    small["components"] = {"n0.dram": options}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "o", "--quiet")
    assert done.exit_code == code and why in done.output, done.output


@pytest.mark.parametrize(
    ("name", "config", "field"),
    [
        ("memory-queue", "bandwidth_gb_s: -1\nlatency_ns: 0\n", "bandwidth_gb_s"),
        ("row-gather", "line_ns: 0\n", "line_ns"),
        ("row-gather", "lines_ns: 1\n", "lines_ns"),
    ],
)
def test_a_wrong_configuration_is_one_message(program, cli, tmp_path, name, config, field):
    (tmp_path / "config.yaml").write_text(config)
    done = cli("conformance", "--cmd", program.with_name(name), "--config", tmp_path / "config.yaml")
    assert done.exit_code != 0 and field in done.output
