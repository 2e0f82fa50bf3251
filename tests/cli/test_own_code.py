"""Code of the user's own that ends, raises or answers whatever it likes: one message, the exit code, results so far."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import yaml

MODULE = """
import sys, time
from metronome.hwmodels.network.alpha_beta import AlphaBeta


class Never(BaseException):
    pass


class Mute(Exception):
    def __str__(self):
        raise ValueError


class Router:
    chosen = 0

    def choose(self, request, replicas):
        self.chosen += 1
        return replicas[0] if self.chosen < 5 else self.then(replicas)


class Exits(Router):
    def then(self, replicas):
        sys.exit(9)


class Raises(Router):
    def then(self, replicas):
        raise Never


class IsMute(Router):
    def then(self, replicas):
        raise Mute


class Fruit(Router):
    def then(self, replicas):
        return "banana"


class Nobody(Router):
    def then(self, replicas):
        return None


class Scales:
    def desired(self, pool):
        return "x"


class Model(AlphaBeta):
    def estimate(self, template, values):
        return self.then(super().estimate(template, values))


class Leaves(Model):
    def then(self, estimate):
        sys.exit(5)


class Breaks(Model):
    def then(self, estimate):
        raise Never


class Longest(Model):
    def then(self, estimate):
        return estimate._replace(duration_ps=2**62)


class Unknown(Model):
    def then(self, estimate):
        return estimate._replace(provenance="foo")


class Talks(AlphaBeta):
    def statistics(self, uses=()):
        raise ValueError("x" * 100_000)


class Writes(AlphaBeta):
    def statistics(self, uses=()):
        return {"note": "x" * 1_000_000}


class Silent(AlphaBeta):
    def statistics(self, uses=()):
        sys.exit(5)
"""
LEAVING = "import sys\nsys.exit(7)\n"
SLOW = """
import time
from pathlib import Path


class Meta:
    def __set_name__(self, owner, name):
        Path(__file__).with_name("importing").touch()
        time.sleep(30)


class Any:
    x = Meta()
"""


@pytest.fixture
def run(small, tmp_path, monkeypatch):
    """`metronome run` of a scenario with such a change, in a process of its own; its results are in ``out``."""
    for name, text in (("own_code", MODULE), ("own_leaving", LEAVING), ("own_slow", SLOW)):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def start(more=(), **change):
        (tmp_path / "s.yaml").write_text(yaml.safe_dump({**small, **change}))
        command = [sys.executable, "-m", "metronome", "run", tmp_path / "s.yaml", "-o", tmp_path / "out", *more]
        default = lambda: [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGTERM, signal.SIGHUP)]  # noqa: E731
        return subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=default
        )

    return start


def ended(process, code, *said):
    _, text = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in text, text
    for word in said:
        assert word in text, text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Exits", "own_code raised SystemExit: 9"),
        ("Raises", "own_code raised Never"),
        ("IsMute", "own_code raised Mute (its message cannot be shown)"),
        ("Fruit", "own_code:Fruit: choose gave 'banana': must be one of the"),
        ("Nobody", "own_code:Nobody: choose gave None"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_router(run, tmp_path, name, said, late):
    router = {"policy": f"own_code:{name}", **({"report_period_s": 1} if late else {})}
    ended(run(router=router), 3, said, "partial results are in")
    assert json.loads((tmp_path / "out/result.json").read_text())["metronome"]["status"] == "failed"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Leaves", "SystemExit: 5"),
        ("Breaks", "Never"),
        ("Longest", "time ends after 2^63-1 ps (106 days)"),
        ("Unknown", "says its answer is 'foo': must be one of measured"),
    ],
)
def test_a_component(run, small, tmp_path, name, said):
    (network,) = {network["name"] for network in small["cluster"]["networks"]}
    own = {"model": f"own_code:{name}", "bandwidth_gb_s": 100, "latency_ns": 500}
    ended(run(components={network: own}), 3, f"component {network}", said, "partial results are in")
    assert json.loads((tmp_path / "out/result.json").read_text())["metronome"]["status"] == "failed"


def test_figures_that_end_the_process_cost_no_results(run, small, tmp_path):
    (network,) = {network["name"] for network in small["cluster"]["networks"]}
    ended(run(components={network: {"model": "own_code:Silent", "bandwidth_gb_s": 100, "latency_ns": 500}}), 0)
    own = json.loads((tmp_path / "out/result.json").read_text())["metronome"]
    assert own["status"] == "complete" and "SystemExit: 5" in json.dumps(own["components"][network])


@pytest.mark.parametrize("where", ["inprocess", "process"])
@pytest.mark.parametrize(("name", "said"), [("Talks", "ValueError: xxx"), ("Writes", "a text of at most")])
def test_figures_of_any_length(run, small, tmp_path, where, name, said):
    (network,) = {network["name"] for network in small["cluster"]["networks"]}
    own = {"model": f"own_code:{name}", "bandwidth_gb_s": 100, "latency_ns": 500, "run": where}
    ended(run(components={network: own}), 0)
    whole = (tmp_path / "out/result.json").read_text()
    found = json.loads(whole)["metronome"]
    assert found["status"] == "complete" and said in json.dumps(found["components"][network])
    assert len(whole) < 100_000


@pytest.mark.parametrize("field", ["router", "components"])
def test_a_module_that_leaves_is_refused(run, small, field):
    (network,) = {network["name"] for network in small["cluster"]["networks"]}
    change = {"router": {"policy": "own_leaving:R"}, "components": {network: {"model": "own_leaving:R"}}}
    ended(run(**{field: change[field]}), 2, "own_leaving:R", "cannot be loaded: SystemExit: 7")


@pytest.mark.parametrize("field", ["router", "components"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_while_a_class_is_made_is_a_signal(run, small, tmp_path, field, number, code):
    """Python wraps what is raised in `__set_name__`."""
    (network,) = {network["name"] for network in small["cluster"]["networks"]}
    change = {"router": {"policy": "own_slow:Any"}, "components": {network: {"model": "own_slow:Any"}}}
    process = run(**{field: change[field]})
    while not (tmp_path / "importing").exists():
        assert process.poll() is None, process.communicate()
    process.send_signal(number)
    ended(process, code, "metronome: interrupted")
