"""Components that somebody else has started: over TLS, with a token, refused clearly when something is wrong."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import trustme
from metronome.adapters.host.service import ComponentService
from metronome.component.v1 import component_pb2_grpc as pb_grpc
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency
from metronome.orchestrator.coupling.launch.certificates import make_certificates
from metronome.orchestrator.coupling.launch.endpoint import Endpoint
from metronome.orchestrator.errors import ComponentFailure, InputError
from metronome.orchestrator.report.result import Ending
from metronome.orchestrator.report.results import write
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.simulation import Simulation
from metronome.orchestrator.source import LiveSource

from ..conftest import ROOT
from .test_placement import files, run

TLS = {"ca": "certs/ca.pem", "certificate": "certs/client.pem", "key": "certs/client.key"}


def test_a_server_without_a_health_service_is_asked_all_the_same(tmp_path):
    """One written from the .proto alone; one that is not there yet is still waited for."""
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    pb_grpc.add_ComponentServiceServicer_to_server(ComponentService(BandwidthLatency), server)
    server.add_insecure_port(f"unix:{tmp_path}/c")
    server.start()
    try:
        Endpoint(f"unix:{tmp_path}/c").await_health("n0.dram", 5, lambda: ("", ""))
    finally:
        server.stop(None)
    with pytest.raises(ComponentFailure, match="never became healthy within 1 s"):
        Endpoint(f"unix:{tmp_path}/nobody").await_health("n0.dram", 1, lambda: ("", ""))


@contextmanager
def served(model, *arguments, listen="127.0.0.1:0"):
    """A component process of somebody else; gives its address."""
    if not arguments and not listen.startswith("unix:"):
        arguments = ("--insecure",)
    command = [sys.executable, "-m", "metronome", "serve-component", model, "--listen", listen, *map(str, arguments)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"serves on (\S+);", line)
        assert found, line + process.stdout.read()
        yield found[1]
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stdout.close()


@pytest.fixture
def certs(tmp_path):
    make_certificates(tmp_path / "certs", ["nvlink0"])
    return tmp_path / "certs"


def secured(certs, *more):
    return (
        "--tls-cert",
        certs / "nvlink0.pem",
        "--tls-key",
        certs / "nvlink0.key",
        "--tls-ca",
        certs / "ca.pem",
        *more,
    )


def at(small, target, limit=4, **options):
    address = {"target": target, **options}
    return {**small, "components": {"nvlink0": {"run": "address", "start_timeout_s": limit, "address": address}}}


def connect(data, folder):
    with Simulation(validate(data, "test"), folder, LiveSource()):
        pass


def test_a_component_at_an_address_gives_the_same_bytes(small, tmp_path):
    here, _ = run(small, tmp_path / "here")
    with served("alpha-beta") as address:
        there, _ = run(at(small, address), tmp_path / "there")
        again, _ = run(at(small, address), tmp_path / "again")  # it serves one run after another
    assert here == there == again


def test_over_a_socket(small, tmp_path):
    with served("alpha-beta", listen=f"unix:{tmp_path}/c.sock") as address:
        connect(at(small, address), tmp_path)


def test_over_mutual_tls_with_a_token(small, certs, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("a secret\n")
    monkeypatch.setenv("THE_TOKEN", "a secret")
    here, _ = run(small, tmp_path / "here")
    with served("alpha-beta", *secured(certs, "--token-file", tmp_path / "token")) as address:
        for options in ({"token_file": "token"}, {"token_env": "THE_TOKEN"}):
            with Simulation(validate(at(small, address, **TLS, **options), "test"), tmp_path) as simulation:
                simulation.run()
                write(simulation, tmp_path / "there", 0.0, Ending())
            assert files(tmp_path / "there") == here


def test_wrong_authority(small, certs, tmp_path):
    make_certificates(tmp_path / "other", ["nvlink0"])
    with served("alpha-beta", *secured(certs)) as address:
        with pytest.raises(ComponentFailure, match="(?s)nvlink0: .*not of the other's authority"):
            connect(at(small, address, **{**TLS, "ca": "other/ca.pem"}), tmp_path)
        with pytest.raises(ComponentFailure, match="nvlink0: "):  # ours is of another authority than it trusts
            connect(
                at(small, address, **{**TLS, "certificate": "other/client.pem", "key": "other/client.key"}), tmp_path
            )


def test_expired_certificate(small, tmp_path):
    folder = tmp_path / "certs"
    folder.mkdir()
    authority = trustme.CA()
    old = authority.issue_cert("nvlink0", "127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1))
    own = authority.issue_cert("client")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, made in (("nvlink0", old), ("client", own)):
        made.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        made.private_key_pem.write_to_path(folder / f"{name}.key")
    with (
        served("alpha-beta", *secured(folder)) as address,
        pytest.raises(ComponentFailure, match="its certificate has expired"),
    ):
        connect(at(small, address, **TLS), tmp_path)


def test_no_certificate_of_ours(small, certs, tmp_path):
    with served("alpha-beta", *secured(certs)) as address, pytest.raises(ComponentFailure, match="nvlink0: "):
        connect(at(small, address, ca="certs/ca.pem"), tmp_path)


@pytest.mark.parametrize(("sent", "why"), [(None, "a token is missing"), ("another", "the token is missing or wrong")])
def test_missing_and_wrong_token(small, certs, tmp_path, sent, why):
    (tmp_path / "token").write_text("a secret")
    (tmp_path / "sent").write_text(sent or "")
    options = {"token_file": "sent"} if sent else {}
    server = served("alpha-beta", *secured(certs, "--token-file", tmp_path / "token"))
    with server as address, pytest.raises(ComponentFailure, match=why) as caught:
        connect(at(small, address, **TLS, **options), tmp_path)
    assert "secret" not in str(caught.value) and "another" not in str(caught.value)


def test_a_plain_client_at_a_tls_server(small, certs, tmp_path):
    with (
        served("alpha-beta", *secured(certs)) as address,
        pytest.raises(ComponentFailure, match="(?s)without TLS; if it serves TLS, give address.ca"),
    ):
        connect(at(small, address), tmp_path)


def test_nobody_there(small, tmp_path):
    with pytest.raises(ComponentFailure, match=r"nvlink0: never became healthy within 1 s"):
        connect(at(small, "127.0.0.1:1", limit=1), tmp_path)


def test_it_is_waited_for_while_it_starts(small, tmp_path):
    """Connecting is tried again until the start timeout."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = f"import time, runpy, sys; time.sleep(1.5); sys.argv = ['metronome', 'serve-component', 'alpha-beta', '--listen', '127.0.0.1:{port}', '--insecure']; runpy.run_module('metronome', run_name='__main__')"
    process = subprocess.Popen([sys.executable, "-c", command], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        connect(at(small, f"127.0.0.1:{port}", limit=20), tmp_path)
    finally:
        process.terminate()
        process.wait(20)


def test_a_model_of_another_kind(small, tmp_path):
    with (
        served("roofline") as address,
        pytest.raises(InputError, match="roofline answers there; what is wanted is a model of network"),
    ):
        connect(at(small, address), tmp_path)


def test_a_model_that_is_not_installed_here(small, tmp_path):
    """What it takes of the scenario's facts is only known by asking it; results name it as it names itself."""
    with served("tests.coupling.fakes:SteppedNetwork") as address:
        data = at(small, address)
        data["components"]["nvlink0"]["model"] = "nobody-has-this"
        found, simulation = run(data, tmp_path / "out")
    assert found[0]["metronome"]["components"]["nvlink0"]["model"] == "alpha-beta"
    assert simulation.ports.modes("nvlink0") == "stepped"


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ({"target": "somewhere:5"}, "beyond this machine a component is spoken to over TLS"),
        ({"target": "nonsense"}, "pattern"),
        ({"target": "a:5", "ca": "c", "certificate": "d"}, "belong together"),
        ({"target": "127.0.0.1:5", "certificate": "c", "key": "d"}, "needs ca"),
        ({"target": "127.0.0.1:5", "token_env": "T"}, "over TLS only"),
        ({"target": "a:5", "ca": "c", "token_env": "T", "token_file": "t"}, "not both"),
        ({"target": "a:5", "insecure": True, "port": 3}, "port"),
    ],
)
def test_bad_addresses_are_refused(small, address, why):
    with pytest.raises(InputError, match=why):
        validate({**small, "components": {"nvlink0": {"run": "address", "address": address}}}, "test")


def test_files_and_tokens_that_are_not_there(small, certs, tmp_path):
    for options, why in (
        ({"ca": "nowhere.pem"}, "address.ca = 'nowhere.pem': cannot be read"),
        ({"ca": "certs/ca.pem", "token_env": "NO_SUCH_VARIABLE"}, "holds no token"),
    ):
        with pytest.raises(InputError, match=why):
            connect(at(small, "127.0.0.1:5", **options), tmp_path)


def test_a_server_takes_a_token_over_tls_only(cli, tmp_path):
    (tmp_path / "token").write_text("a secret")
    done = cli("serve-component", "alpha-beta", "--token-file", tmp_path / "token")
    assert done.exit_code == 2 and "over TLS only" in done.output and "secret" not in done.output
    assert cli("serve-component", "alpha-beta", "--tls-ca", tmp_path / "token").exit_code == 2


def listening():
    """(address, port) of every TCP socket that listens, of this machine."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                address, port = fields[1].split(":")
                found.add((address, int(port, 16)))
    return found


def test_a_default_run_listens_on_nothing_beyond_loopback(small, tmp_path):
    before = listening()
    small["components"] = {name: {"run": "process"} for name in ("n0.accelerators", "n0.dram", "nvlink0")}
    with Simulation(validate(small, "test"), tmp_path, LiveSource(tmp_path / "logs")) as simulation:
        simulation.run()
        assert listening() - before == set()


def test_certificates(cli, tmp_path):
    done = cli("certs", "nvlink0", "n0.accelerators", "-o", tmp_path / "c", "--host", "sim.lab")
    assert done.exit_code == 0
    names = {path.name for path in (tmp_path / "c").iterdir()}
    assert names == {"ca.pem", *(f"{n}.{e}" for n in ("nvlink0", "n0.accelerators", "client") for e in ("pem", "key"))}
    for path in (tmp_path / "c").glob("*.key"):
        assert path.stat().st_mode & 0o077 == 0
    assert all("PRIVATE" not in p.read_text() for p in (tmp_path / "c").glob("*.pem"))
