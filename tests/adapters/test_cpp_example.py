"""The contract in another language: the example in C++ keeps it, and answers as the reference model does."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml

from ..conftest import ROOT, missing

EXAMPLE = ROOT / "adapters" / "examples" / "cpp"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if not shutil.which("g++") or not shutil.which("grpc_cpp_plugin"):
        missing("g++, libgrpc++-dev, libprotobuf-dev, protobuf-compiler-grpc")
    folder = tmp_path_factory.mktemp("cpp")
    made = subprocess.run(["make", "-s", "-C", EXAMPLE, f"OUT={folder}"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return folder / "memory-queue"


def test_it_keeps_the_contract(program, cli):
    done = cli("conformance", "--cmd", program, "--config", EXAMPLE / "config.yaml")
    assert done.exit_code == 0 and "14 of 14" in done.output, done.output


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


def test_a_wrong_configuration_is_one_message(program, cli, tmp_path):
    (tmp_path / "config.yaml").write_text("bandwidth_gb_s: -1\nlatency_ns: 0\n")
    done = cli("conformance", "--cmd", program, "--config", tmp_path / "config.yaml")
    assert done.exit_code != 0 and "bandwidth_gb_s" in done.output
