"""A network of a run that is slow for a while, or down: what its operations make of it."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import metronome
import pytest
import yaml
from metronome.hwmodels.network.fabric import Fabric
from metronome.orchestrator.errors import InputError, RecoveryWarning
from metronome.orchestrator.scenario.loading import load

from ..chaos.disturb import component_processes
from ..chaos.remains import mark
from ..chaos.undisturbed import run

RING = {"all_reduce": "ring"}  # else another algorithm may be quicker where links are slower
CUT_S = (0.2, 0.5)  # while requests are under way


class Plain(Fabric):
    """Knows no slowdowns."""

    description = replace(Fabric.description, op_kinds=Fabric.description.op_kinds - {"slowdown"})


def uplink(divided_by=1, **failure):
    """All-reduces of two tenants that meet in one adapter a node, 0.7 s of them."""
    data = load("shared-uplink", (), None)[0].model_dump(mode="json")
    data["workload"]["num_requests"] = 10
    data["components"]["ethernet"] = {"algorithms": RING}
    (network,) = data["cluster"]["networks"]
    for level in (network, network["scale_out"]):
        level["bandwidth_gb_s"] /= divided_by
    if failure:
        data["failures"] = [{"at_s": 0, "component": "ethernet", "repair_s": 1000, **failure}]
    return data


def rows(result):
    return [dict(zip(result.requests.columns, row, strict=True)) for row in result.requests.rows]


def test_slow_all_along_is_a_network_of_so_much_less():
    slow, narrow, plain = (metronome.run(data) for data in (uplink(slowdown=4), uplink(4), uplink()))
    assert rows(slow) == rows(narrow) != rows(plain)
    assert slow["mean_tpot_ms"] > plain["mean_tpot_ms"]


def test_only_the_links_that_are_named():
    """Both nodes' adapters are on the way of every ring: one of them is enough, the way within a node is on none."""
    plain, one, inner = (
        metronome.run(data)
        for data in (uplink(), uplink(slowdown=4, links="n0.nic0->*"), uplink(slowdown=4, links="n0.switch->n0.*"))
    )
    assert rows(one) == rows(metronome.run(uplink(slowdown=4, links="n*.nic0->*"))) != rows(plain) == rows(inner)


def test_while_it_is_down_no_token_comes():
    """Every step has all-reduces: what is under way waits, and goes on where it was."""
    plain = rows(metronome.run(uplink()))
    cut = rows(metronome.run(uplink(at_s=CUT_S[0], repair_s=CUT_S[1] - CUT_S[0], down=True)))
    first, last = (round(at * 1e9) for at in CUT_S)
    assert not [one["id"] for one in cut if first < one["first_token"] < last or first < one["end"] < last]
    assert [one for one in cut if one["end"] < first] == [one for one in plain if one["end"] < first]
    assert sum(one["end"] for one in cut) > sum(one["end"] for one in plain)


def test_repaired_while_another_failure_of_the_same_kind_lasts():
    """Of two that overlap the repair of the first changes nothing."""
    both = uplink(at_s=[0.1, 0.2], repair_s=0.3, slowdown=8)
    one = uplink(at_s=0.1, repair_s=0.4, slowdown=8)
    assert rows(metronome.run(both)) == rows(metronome.run(one)) != rows(metronome.run(uplink()))


def test_it_replays_and_is_the_same_in_a_process_that_is_killed_meanwhile(tmp_path, cli):
    data = uplink(at_s=CUT_S[0], repair_s=CUT_S[1] - CUT_S[0], down=True)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(data))
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "a", "--record", "--quiet").exit_code == 0
    done = cli("replay", tmp_path / "a", "-o", tmp_path / "b", "--quiet")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a/requests.csv").read_bytes() == (tmp_path / "b/requests.csv").read_bytes()
    alone = run(data)
    data["components"]["ethernet"]["run"] = "process"
    killer = Killer("slowdown")
    with pytest.warns(RecoveryWarning):
        apart = metronome.run(data, instruments=[killer])
    assert killer.killed and apart.requests.rows == alone.figures[1]


class Killer:
    """Kills the components after the first event of a kind."""

    def __init__(self, kind):
        mark()
        self.kind, self.killed = kind, False

    def event(self, event):
        if event.kind == self.kind and not self.killed:
            for pid, _ in component_processes():
                os.kill(pid, signal.SIGKILL)
                self.killed = True


def test_a_model_that_knows_no_slowdowns_and_shares_the_clock_is_refused():
    data = uplink(slowdown=4)
    data["components"]["ethernet"] = {"model": "tests.fleet.test_slow_networks:Plain"}
    with pytest.raises(InputError, match="cannot be slowed down: it shares the clock.*does no slowdown"):
        metronome.run(data)
