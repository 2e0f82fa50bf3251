"""A name that is nearly right is answered with the right one."""

from __future__ import annotations

import metronome
import pytest
from click.shell_completion import BashComplete
from metronome.orchestrator.cli.main import cli as cli_group


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sweeep"], "No such command 'sweeep'; did you mean 'sweep'?"),
        (["run", "quikstart"], "no such file; did you mean 'quickstart'?"),
        (
            ["run", "quickstart", "--set", "instances.chat-9.model=x"],
            "must be an index from 0 to 1, or a name: did you mean 'chat-",
        ),
        (["run", "quickstart", "--set", "instances.chat-1.engin.max_num_seqs=1"], "did you mean 'engine'?"),
        (["run", "quickstart", "--set", "workload={path: nowhere.csv}"], "nowhere.csv: workload.path: no such file"),
        (["run", "quickstart", "--set", "workload={path: empty.csv}"], "empty.csv: workload: is empty"),
        (["sweep", "nowhere.yaml"], "nowhere.yaml: sweep: cannot be read: No such file or directory"),
        (
            ["plan", "quickstart", "--rate", 1, "--slo", "ttft=9", "--device", "h10"],
            "--device = 'h10': did you mean h100",
        ),
    ],
)
def test_the_nearest_name_is_said(cli, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").touch()
    arguments = [one.replace("path: ", f"path: {tmp_path}/") if isinstance(one, str) else one for one in arguments]
    done = cli(*arguments)
    assert done.exit_code == 2 and told in done.output and "Traceback" not in done.output, done.output


def test_parts_of_a_list_are_set_by_their_names():
    """Networks and nodes, too."""
    for name, number in (("instances.chat-1.engine.max_num_seqs", 1), ("cluster.networks.nvlink1.latency_ns", 1)):
        path = name.replace("chat-1", str(number)).replace("nvlink1", str(number))
        by_name, by_number = (metronome.load("quickstart", {one: 7}) for one in (name, path))
        assert by_name == by_number != metronome.load("quickstart")


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        ([], "swe", "sweep"),
        (["run"], "quick", "quickstart"),
        (["view"], "slow", "slow-link"),
        (["sweep"], "tensor-pa", "tensor-parallel"),
        (["run", "quickstart"], "--js", "--json"),
    ],
)
def test_a_shell_is_offered(words, begun, offered):
    shell = BashComplete(cli_group, {}, "metronome", "_METRONOME_COMPLETE")
    assert offered in {item.value for item in shell.get_completions(words, begun)}


def test_numbers_are_numbers_as_everybody_writes_them(cli):
    """PyYAML takes 1e2 for a text."""
    done = cli("validate", "quickstart", "--set", "workload.request_rate=1e1")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("certs", "ca"), "NAME = 'ca': is made anyway"),
        (("certs", "client"), "NAME = 'client': is made anyway"),
        (("certs", "a", "a"), "NAME = 'a': is there twice"),
        (("validate", "quickstart", "--set", "components.nvlink0.model=chaos/chaos/fabric"), "name chaos/fabric"),
        (("validate", "quickstart", "--set", "cluster.networks.0.latency_ns=1e30"), "less than or equal"),
        (("validate", "quickstart", "--set", "cluster.networks.0.bandwidth_gb_s=1e-300"), "greater than or equal"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(cli, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    done = cli(*arguments)
    assert done.exit_code == 2 and said in done.output and "Traceback" not in done.output, done.output
