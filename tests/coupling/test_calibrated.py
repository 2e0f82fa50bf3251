"""Factors on times: what each multiplies, what stays, what is refused."""

from __future__ import annotations

import json

import metronome
import pytest
from metronome.hwmodels.interface import Advanced, Completion, Description, Operation, Provenance, Template, TimePolicy
from metronome.orchestrator.coupling.calibrated import CalibratedLink, part_of
from metronome.orchestrator.coupling.link import LocalLink
from metronome.orchestrator.scenario.calibration import PARTS
from metronome.orchestrator.scenario.loading import as_yaml, digest, load, of_mapping
from metronome.orchestrator.serving.host_costs import host_costs

from ..small import SMALL


class Fixed:
    """Takes 1 us and 10 pJ, whatever it is asked."""

    description = Description("fixed", "accelerator", "1", TimePolicy.ORACLE, frozenset({"gemm", "attention"}))

    def declare(self, templates):
        pass

    def advance(self, grant_ps, operations, stop_at_first_completion=False):
        done = [Completion(o.op_id, o.at_ps, o.at_ps + 10**6, Provenance.MEASURED, 10) for o in operations]
        return Advanced(grant_ps, tuple(done))


def asked(factors, kind="accelerator"):
    """(took, energy, provenance) of a gemm, an attention of decodes, and one with a prompt."""
    fixed = type("Of", (Fixed,), {"description": Description("f", kind, "1", TimePolicy.ORACLE, frozenset({"gemm"}))})
    link = CalibratedLink(LocalLink("n0", fixed), factors)
    link.declare([Template(0, "gemm", "qkv_proj"), Template(1, "attention", "attention")])
    operations = [Operation(0, (8,), 0), Operation(1, (2, 64, 32, 32), 1), Operation(1, (2, 64, 32, 32, 16, 0), 2)]
    done = link.advance(10**9, operations, False).completions
    return [(one.finish_ps - one.start_ps, one.energy_pj, one.provenance) for one in done]


def test_each_part_is_multiplied_by_its_own_factor_and_says_so():
    as_is = (10**6, 10, Provenance.MEASURED)
    double = (2 * 10**6, 20, Provenance.CALIBRATED)
    assert asked({"gemm": 2.0}) == [double, as_is, as_is]
    assert asked({"decode_attention": 2.0}) == [as_is, double, as_is]
    assert asked({"prompt_attention": 2.0}) == [as_is, as_is, double]


def test_the_energy_of_a_network_is_of_its_bits():
    assert asked({"link": 2.0}, "network")[0] == (2 * 10**6, 10, Provenance.CALIBRATED)


def test_every_kind_of_operation_an_accelerator_does_is_of_a_part():
    kinds = ("gemm", "moe", "state", "norm", "elementwise", "embedding", "sampler", "attention")
    assert {part_of(kind, (1, 2, 3, 4), "accelerator") for kind in kinds} < set(PARTS)


def test_host_work_on_a_step_and_api_servers_are_apart():
    costs, longer = host_costs("vllm-0.19", True), host_costs("vllm-0.19", True).times(1.5, 2)
    assert longer.step_gap_ps == 1.5 * costs.step_gap_ps and longer.host_sequence_ps == 1.5 * costs.host_sequence_ps
    assert longer.server.output_ps == 2 * costs.server.output_ps
    assert (longer.warm_up_ps, longer.graph_sizes) == (costs.warm_up_ps, costs.graph_sizes)


def test_a_file_of_factors_is_included_and_travels_with_the_run(tmp_path):
    (tmp_path / "factors.yaml").write_text(
        "source: a log\nfactors: {gemm: 1.25, host: 2}\nintervals: {gemm: [1.2, 1.3]}\n"
    )
    scenario = SMALL | {"calibration": "factors.yaml"}
    (tmp_path / "s.yaml").write_text(json.dumps(scenario))
    loaded, _ = load(str(tmp_path / "s.yaml"))
    assert loaded.calibration.factors == {"gemm": 1.25, "host": 2}
    assert "gemm: 1.25" in as_yaml(loaded)
    result = metronome.run(tmp_path / "s.yaml")
    assert result["metronome"]["calibration"]["source"] == "a log"
    assert result["mean_tpot_ms"] > metronome.run(SMALL)["mean_tpot_ms"]


def test_factors_are_part_of_what_determines_a_result_and_none_changes_nothing():
    bare, given = of_mapping(SMALL), of_mapping(SMALL, {"calibration.factors.gemm": 1.5})
    assert digest(bare) != digest(given)
    assert "calibration" not in as_yaml(bare)


def test_a_recording_of_a_calibrated_run_replays_to_the_same_bytes(cli, tmp_path):
    given = ("--set", "calibration.factors.gemm=1.5", "--set", "calibration.factors.host=2")
    done = cli(
        "run", "slow-link", "-o", tmp_path / "a", "--record", "--quiet", "--set", "workload.num_requests=10", *given
    )
    assert done.exit_code == 0, done.output
    assert cli("replay", tmp_path / "a", "-o", tmp_path / "b").exit_code == 0
    assert (tmp_path / "a/requests.csv").read_bytes() == (tmp_path / "b/requests.csv").read_bytes()


def test_components_elsewhere_are_calibrated_alike(cli, tmp_path):
    given = ("--quiet", "--set", "workload.num_requests=10", "--set", "calibration={factors: {gemm: 1.5, link: 2}}")
    for name in ("quickstart", "quickstart-processes"):
        done = cli("run", name, "-o", tmp_path / name, *given)
        assert done.exit_code == 0, done.output
    here, there = (tmp_path / name / "requests.csv" for name in ("quickstart", "quickstart-processes"))
    assert here.read_bytes() == there.read_bytes()


BAD = {
    "another part": ("{factors: {gem: 2}}", "there is no part 'gem'; did you mean 'gemm'?"),
    "a negative factor": ("{factors: {gemm: -1}}", "gemm = -1: must be from 0.01 to 100"),
    "no factor": ("{factors: {}}", "at least 1"),
    "an interval of nothing": ("{factors: {gemm: 2}, intervals: {moe: [1, 2]}}", "no factor of that name"),
    "a file that is not there": ("nowhere.yaml", "cannot be read"),
}


@pytest.mark.parametrize(("value", "said"), BAD.values(), ids=BAD)
def test_a_bad_calibration_is_one_message(value, said, cli):
    done = cli("run", "quickstart", "--set", f"calibration={value}")
    assert done.exit_code == 2 and said in done.output, done.output


def test_a_component_that_shares_the_clock_is_refused(cli):
    done = cli("run", "shared-uplink", "--set", "calibration.factors.link=1.2")
    assert done.exit_code == 2 and "calibration.factors.link = 1.2: ethernet shares the clock" in done.output
