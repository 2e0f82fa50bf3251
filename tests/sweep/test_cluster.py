"""Sweeps on a Dask cluster: the table is that of one machine, whoever is killed; who may not compute is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from metronome.orchestrator.sweep import elsewhere
from metronome.orchestrator.sweep.places import Cluster
from metronome.orchestrator.sweep.schema import load
from metronome.orchestrator.sweep.study import Study

from ..small import SMALL

distributed = pytest.importorskip("distributed", reason="needs metronome-cosim[cluster]")

AXES = {
    "instances.0.engine.max_num_seqs": [4, 16],
    "workload.request_rate": {"low": 10, "high": 90, "count": 4},
}
POLICIES = """
import os, signal, warnings

class Kill:
    def __init__(self):
        os.kill(os.getpid(), signal.SIGKILL)

class Warn:
    def __init__(self):
        warnings.warn("mind the gap")

    def choose(self, request, replicas):
        return replicas[0]
"""


@contextmanager
def dask(folder, *options, protocol="tcp", path="", nodes=2):
    """The address of a scheduler on loopback that has so many nodes, of one worker process each."""
    options = ["--no-dashboard", "--host", "127.0.0.1", "--protocol", protocol, *options]
    said = folder / "scheduler.json"
    scheduler = ["distributed.cli.dask_scheduler", "--port", "0", "--scheduler-file", str(said), *options]
    worker = ["distributed.cli.dask_worker", "--nthreads", "2", "--scheduler-file", str(said), *options]
    with ExitStack() as stack:
        for number, command in enumerate([scheduler] + [worker] * nodes):
            if number:
                command = [*command, "--local-directory", str(folder / f"node{number}")]
            log = stack.enter_context((folder / f"log{number}").open("wb"))
            environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONWARNINGS": "ignore"}
            process = subprocess.Popen([sys.executable, "-m", *command], stdout=log, stderr=log, env=environment)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            while not number and not said.is_file():
                assert process.poll() is None, (folder / "log0").read_text()
                time.sleep(0.05)
        yield json.loads(said.read_text())["address"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of two, whose workers find `policies`."""
    folder = tmp_path_factory.mktemp("dask")
    (folder / "policies.py").write_text(POLICIES)
    with dask(folder, path=folder) as address:
        yield Cluster(address, folder)


def written(folder):
    """A scenario, and a sweep over it."""
    scenario = deepcopy(SMALL)
    scenario["workload"]["num_requests"] = 8
    (folder / "small.yaml").write_text(yaml.safe_dump(scenario))
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"scenario": "small.yaml", "axes": AXES}))
    return folder


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path)


def study(folder, out="out", tell=None, cluster=None):
    return Study(load(folder / "sweep.yaml"), folder, folder / out, 1, tell, cluster)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """As one process of this machine computes it."""
    return study(written(tmp_path_factory.mktemp("here"))).run().as_json()


def pids(cluster):
    with distributed.Client(cluster.address, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


def test_a_cluster_gives_the_table_of_one_machine_and_computes_nothing_twice(folder, table, cluster):
    first = study(folder, cluster=cluster)
    assert first.run().as_json() == table and (first.computed, first.kept) == (8, 0)
    again = study(folder, cluster=cluster)
    assert again.run().as_json() == table and (again.computed, again.kept) == (0, 8)


def test_a_worker_killed_halfway_changes_nothing(folder, table, cluster):
    killed = []

    def kill(done, of):
        if done == 4:
            killed.append(pids(cluster)[0])
            os.kill(killed[0], signal.SIGKILL)

    assert study(folder, tell=kill, cluster=cluster).run().as_json() == table and killed
    assert killed[0] not in pids(cluster)


def test_what_is_stopped_goes_on_where_it_was(folder, table, cluster):
    def stop(done, of):
        if done == 5:
            raise KeyboardInterrupt

    stopped = study(folder, tell=stop, cluster=cluster)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert len(stopped.table().rows) == 5
    rest = study(folder, cluster=cluster)
    assert rest.run().as_json() == table and (rest.kept, rest.computed) == (5, 3)


def test_components_of_a_point_are_processes_of_its_worker_and_end_with_it(folder, cluster):
    axes = {"components": [{}, {"nvlink0": {"run": "process"}}]}
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"scenario": "small.yaml", "axes": axes}))
    here, other = study(folder, cluster=cluster).run().rows
    assert other["status"] == "complete" and here["figures"] == other["figures"]
    for worker in pids(cluster):
        children = Path(f"/proc/{worker}/task").glob("*/children")
        for child in [int(pid) for file in children for pid in file.read_text().split()]:
            assert "serve-component" not in Path(f"/proc/{child}/cmdline").read_text()


def test_a_point_that_kills_its_workers_is_a_failed_row(folder, cluster, cli, monkeypatch):
    """And what a worker warns of is told here."""
    monkeypatch.syspath_prepend(cluster.certificates)
    policies = ["policies:Kill", "round-robin", "policies:Warn", "least-loaded"]
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"scenario": "small.yaml", "axes": {"router.policy": policies}}))
    done = cli("sweep", folder / "sweep.yaml", "-o", folder / "out", "--cluster", cluster.address)
    assert done.exit_code == 0 and "warning: mind the gap (in 1 of 4 runs)" in done.output
    rows = json.loads((folder / "out/sweep.json").read_text())["points"]
    assert [row["status"] for row in rows] == ["failed", "complete", "complete", "complete"]
    assert "killed 3 times" in rows[0]["error"]


def test_capacity_and_plan_take_a_cluster(folder, cluster, cli):
    asked = [
        "capacity",
        folder / "small.yaml",
        "--slo",
        "ttft=2000,tpot=50",
        "--set",
        "workload.num_requests=20",
        "--json",
    ]
    assert cli(*asked, "--cluster", cluster.address).output == cli(*asked, "--workers", 1).output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code": ["another"]}, "has other code than is here"),
        ({"files": {"small.yaml": "another"}}, "sees another small.yaml than is here"),
    ],
)
def test_a_worker_with_other_code_or_files_is_refused(folder, cluster, cli, monkeypatch, change, message):
    seen = elsewhere.seen
    monkeypatch.setattr(elsewhere, "seen", lambda task: json.dumps({**json.loads(seen(task)), **change}))
    done = cli("sweep", folder / "sweep.yaml", "-o", folder / "out", "--cluster", cluster.address)
    assert done.exit_code == 2 and message in done.output and "Traceback" not in done.output
    assert not list((folder / "out/points").iterdir())


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://10.0.0.1:8786", "beyond this machine only tls://"),
        ("tcp://cluster.lab:8786", "beyond this machine only tls://"),
        ("tls://cluster.lab:8786", "has no ca.pem; `metronome certs scheduler worker` makes them"),
        ("cluster.lab:8786", "must be tls://HOST:PORT"),
        ("tls://cluster.lab", "must be tls://HOST:PORT"),
        ("ws://127.0.0.1:8786", "must be tls://HOST:PORT"),
        ("tcp://127.0.0.1:1", "no Dask scheduler answers"),
    ],
)
def test_addresses_that_are_refused(folder, cli, monkeypatch, address, message):
    monkeypatch.setattr("metronome.orchestrator.sweep.dask_pool.CONNECT_S", 0.5)
    done = cli("sweep", folder / "sweep.yaml", "-o", folder / "out", "--cluster", address, "--certs", folder)
    assert done.exit_code == 2 and message in done.output and "Traceback" not in done.output


def test_over_tls(folder, table, cli):
    """With certificates of one authority; another's are refused."""
    for name in ("certs", "others"):
        assert cli("certs", "scheduler", "worker", "-o", folder / name).exit_code == 0
    certs = folder / "certs"
    files = ["--tls-ca-file", certs / "ca.pem", "--tls-cert", certs / "worker.pem", "--tls-key", certs / "worker.key"]
    with dask(folder, *map(str, files), protocol="tls", nodes=1) as address:
        assert address.startswith("tls://")
        sweep = ["sweep", folder / "sweep.yaml", "-o", folder / "out", "--json", "--cluster", address, "--certs"]
        done = cli(*sweep, certs)
        assert done.exit_code == 0 and done.stdout == table
        refused = cli(*sweep, folder / "others")
        assert refused.exit_code == 2 and "no Dask scheduler answers" in refused.output


def test_a_scheduler_that_goes_away_ends_the_sweep_with_what_is_there(folder):
    with ExitStack() as stack:
        nodes = ExitStack()
        address = nodes.enter_context(dask(folder, nodes=1))
        stack.callback(nodes.close)
        options = ["-o", str(folder / "out"), "--cluster", address, "--set", "workload.num_requests=40"]
        command = [sys.executable, "-m", "metronome", "sweep", str(folder / "sweep.yaml"), *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        points = folder / "out/points"
        while not points.is_dir() or len(list(points.glob("*.json"))) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        nodes.close()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3, said
    assert "is gone" in said and "Traceback" not in said
    kept = len(list(points.glob("*.json")))
    assert len((folder / "out/sweep.csv").read_text().splitlines()) == kept + 1


def test_options_without_effect_are_refused(folder, cli):
    for options, message in (
        (["--certs", folder], "--certs has no effect without --cluster"),
        (["--cluster", "tcp://127.0.0.1:1", "--workers", 2], "--workers has no effect with --cluster"),
    ):
        done = cli("sweep", folder / "sweep.yaml", "-o", folder / "out", *options)
        assert done.exit_code == 2 and message in done.output
