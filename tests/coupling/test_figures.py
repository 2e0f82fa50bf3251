"""Energies and statistics that cannot be: refused by name, and the results of a finished run stay."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import yaml
from metronome.hwmodels.network.alpha_beta import AlphaBeta
from metronome.orchestrator.coupling.figures import sound
from metronome.orchestrator.coupling.spent import Spent
from metronome.orchestrator.errors import ComponentFailure

LINK = {"link": "a", "bytes": 1, "busy_s": 0.5, "users": {}}


class Says(AlphaBeta):
    """A network whose figures a test sets."""

    figures: object = {}
    energy: object = None

    def statistics(self, uses=()):
        return type(self).figures

    def advance(self, *arguments, **more):
        answer = super().advance(*arguments, **more)
        return replace(answer, completions=tuple(c._replace(energy_pj=type(self).energy) for c in answer.completions))


@pytest.fixture
def run(small, cli, tmp_path, monkeypatch):
    def made(**says):
        for name, value in says.items():
            monkeypatch.setattr(Says, name, value)
        small["components"] = {"nvlink0": {"model": "tests.coupling.test_figures:Says"}}
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
        done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet")
        return done, json.loads((tmp_path / "out" / "result.json").read_text())

    return made


@pytest.mark.parametrize(
    ("figures", "field"),
    [
        ([1], "statistics = "),
        ({"x": math.nan}, "statistics.x = 'nan'"),
        ({"x": [0, math.inf]}, "statistics.x.1 = 'inf'"),
        ({"x": {1: 2}}, "names that are texts"),
        ({"x": object()}, "statistics.x = "),
        ({"relative_error": 5}, "statistics.relative_error"),
        ({"relative_error": {"modelled": "much"}}, "statistics.relative_error.modelled = 'much'"),
        ({"links": {}}, "statistics.links"),
        ({"links": [LINK, {**LINK, "busy_s": "long"}]}, "statistics.links.1.busy_s = 'long'"),
    ],
)
def test_misshapen_statistics_lose_nothing(run, figures, field):
    done, result = run(figures=figures)
    assert done.exit_code == 0, done.output
    assert result["completed"] == 40 and "NaN" not in json.dumps(result)
    assert field in result["metronome"]["components"]["nvlink0"]["statistics"]["error"]


def test_sound_figures_pass_and_endless_ones_do_not():
    good = {"links": [LINK], "relative_error": {"modelled": 0.1}, "note": "a"}
    assert sound("n", good) is good
    deep: dict = {}
    deep["again"] = deep
    with pytest.raises(ComponentFailure, match="at most"):
        sound("n", deep)


@pytest.mark.parametrize("energy", [2**62, -1, math.nan, math.inf, 1.5, True, "much"])
def test_an_energy_that_cannot_be_is_named(run, energy):
    done, result = run(energy=energy)
    assert done.exit_code == 3 and "component nvlink0: says operation" in done.output and "pJ" in done.output
    assert result["metronome"]["status"] == "failed"


def test_energies_that_are_too_much_together_are_named(run):
    """Each can be; all of a step's are more than an entry holds."""
    done, result = run(energy=10**18)
    assert done.exit_code == 3 and "component nvlink0: has spent" in done.output, done.output
    assert "on one step, or in one second: at most 9223372036854775807 (9.2 MJ)" in done.output
    assert result["metronome"]["status"] == "failed"


def test_what_a_second_holds_is_bounded_too():
    entries = Spent().entries("n0.dram")
    entries.gather(1, 2, 2**62)
    with pytest.raises(ComponentFailure, match=f"component n0.dram: has spent {2**63} pJ"):
        entries.gather(3, 4, 2**62)
    assert [list(column) for column in entries.columns] == [[1], [2], [2**62]]


def test_the_steps_of_a_leap_are_bounded_as_any():
    with pytest.raises(ComponentFailure, match=f"component gpu: has spent {2**63} pJ"):
        Spent().entries("gpu").extend([1, 2], [2, 3], [1, 2**63])
