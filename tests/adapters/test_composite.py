"""Several models as one accelerator: each operation is its part's, and what no part does is refused by name."""

from __future__ import annotations

import json
import sys

import pytest
import yaml
from metronome.adapters.composite import Composite
from metronome.hwmodels.accelerator.roofline import Roofline
from metronome.hwmodels.accelerator.systolic import Systolic
from metronome.hwmodels.interface import MAX_PS, ConfigError, Operation, Template, UnsupportedOperation
from metronome.orchestrator.coupling.components import ComponentSpec
from metronome.orchestrator.coupling.surrogate import store
from metronome.orchestrator.scenario.components import ComponentOptions

from .contract import keeps_the_contract

GEMM = Template(0, "gemm", "qkv", {"n": 512, "k": 256, "dtype": "bf16"})
NORM = Template(1, "norm", "norm", {"width": 4096, "dtype": "bf16"})
ARRAY = {"rows": 64, "columns": 64, "clock_mhz": 1000, "dataflow": "ws"}
CONFIG = {"device": "h100-sxm", "parts": {"gemm": {"model": "systolic", **ARRAY}, "else": "roofline"}}


def asked(model, *operations):
    model.declare([GEMM, NORM])
    return model.advance(MAX_PS, [Operation(t, v, i, 7) for i, (t, v) in enumerate(operations)]).completions


def test_each_operation_is_its_parts():
    work = ((0, (16,)), (1, (16,)), (0, (900,)), (1, (3,)))
    gemms, norms = asked(Systolic(ARRAY), *work), asked(Roofline({"device": "h100-sxm"}), *work)
    assert asked(Composite(CONFIG), *work) == (gemms[0], norms[1], gemms[2], norms[3])


def test_it_keeps_the_contract(tmp_path):
    keeps_the_contract(Composite, CONFIG, tmp_path)


def test_figures_are_the_parts_own_and_the_error_the_worst():
    model = Composite(CONFIG)
    asked(model, (0, (16,)))
    found = model.statistics()
    assert found["parts"]["gemm"]["model"] == "systolic" and found["parts"]["else"]["model"] == "roofline"
    assert found["relative_error"] == Roofline({"device": "h100-sxm"}).statistics()["relative_error"]


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"gem": "roofline"}, "'gem' is no kind of operation"),
        ({"gemm": {"rows": 3}}, "gemm: which model"),
        ({"gemm": "nobody"}, r"parts.gemm.model = 'nobody': no model of that name"),
        ({"gemm": "no.such:Model"}, r"parts.gemm.model = 'no.such:Model': No module"),
        ({"gemm": "bandwidth-latency"}, "models a piece of memory"),
        ({"gemm": {"model": "systolic", "rows": 0}}, "parts.gemm.rows = 0"),
        ({}, "parts"),
    ],
)
def test_what_cannot_be_is_said(parts, why):
    with pytest.raises(ConfigError, match=why):
        Composite({"device": "h100-sxm", "parts": parts})


def test_what_no_part_does_is_refused_before_time_0():
    with pytest.raises(UnsupportedOperation, match="composite cannot do norm 'norm': parts are gemm; give else, too"):
        Composite({"parts": {"gemm": {"model": "systolic", **ARRAY}}}).declare([GEMM, NORM])


def test_kept_answers_depend_on_the_code_of_the_parts():
    def of(model):
        config = {**CONFIG, "parts": {"gemm": {"model": model, **ARRAY}, "else": "roofline"}}
        spec = ComponentSpec("n0.accelerators", "accelerator", 0, "composite", {}, ComponentOptions(), 1)
        digests = []
        for given in (config, {**config, "parts": {"else": "roofline"}}):
            one = ComponentSpec(spec.name, spec.kind, 0, "composite", given, ComponentOptions(), 1)
            digests.append(store.identity(one, Composite.description, Composite, ""))
        return digests

    with_array, without = of("systolic")
    assert with_array != without
    files = {path.name for one in Composite.models(CONFIG) for path in store._sources(one)}
    assert {"systolic.py", "roofline.py"} <= files


@pytest.mark.parametrize("where", ["inprocess", "process"])
def test_a_tool_that_does_gemms_alone_runs_a_model(cli, small, tmp_path, where):
    """It was refused for the embedding, the norms and attention."""
    tool = tmp_path / "tool"
    tool.write_text(
        f"#!{sys.executable}\nimport sys\nm, n, k = map(int, sys.argv[1:])\nprint(m * n * k // 10**6 + 1, 'ns')\n"
    )
    tool.chmod(0o755)
    gemm = {
        "model": "metronome.adapters.command:Accelerator",
        "command": ["./tool", "{m}", "{n}", "{k}"],
        "value": "(?P<value>[0-9]+) ns",
    }
    small["workload"] |= {"num_requests": 2}
    small["instances"] = small["instances"][:1]
    small["components"] = {
        "n0.accelerators": {
            "model": "composite",
            "parts": {"gemm": gemm, "else": "roofline"},
            "run": where,
            "surrogate": {"tolerance": 0.05},
        }
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "o", "--quiet")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "o/result.json").read_text())["completed"] == 2
