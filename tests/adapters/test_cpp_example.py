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
    assert done.exit_code == 0 and "13 of 13" in done.output, done.output


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


def test_a_wrong_configuration_is_one_message(program, cli, tmp_path):
    (tmp_path / "config.yaml").write_text("bandwidth_gb_s: -1\nlatency_ns: 0\n")
    done = cli("conformance", "--cmd", program, "--config", tmp_path / "config.yaml")
    assert done.exit_code != 0 and "bandwidth_gb_s" in done.output
