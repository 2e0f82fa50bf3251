"""Who is served, and what a client cannot make a component server do."""

from __future__ import annotations

import json

import grpc
import pytest
from metronome.adapters.host.server import ListenError, Security, start
from metronome.component.v1 import codec
from metronome.component.v1 import component_pb2 as pb
from metronome.component.v1 import component_pb2_grpc as pb_grpc
from metronome.component.v1.server_side import server_side
from metronome.hwmodels.base import Config
from metronome.orchestrator.coupling import registry
from metronome.orchestrator.coupling.launch.certificates import make_certificates
from pydantic import BaseModel

from .test_address import certs, secured, served  # noqa: F401  # a fixture

COMMAND = "metronome.adapters.command:Accelerator"
#: Every field, of a model that is registered or comes with us, which says what runs or is read where it is served.
EXPECTED = {
    "dram-pim": {"ini"},
    "aim": {"config", "keep_scratch", "program"},
    "aiconfigurator": {"python"},
    "aiconfigurator-network": {"python"},
    "astrasim": {"keep_scratch", "program"},
    "attacc": {"config", "generator", "keep_scratch", "program"},
    "booksim2": {"config", "keep_scratch", "program"},
    "composite": {"parts"},
    "dramsim3": {"config", "keep_scratch", "program"},
    "dramsim3-library": {"config", "library", "program"},
    "fmi": {"fmu", "parameters", "python"},
    "fmi-network": {"fmu", "parameters", "python"},
    "island": {"members", "wires"},
    "ns3": {"program"},
    "profiled": {"bundle"},
    "ramulator2": {"arguments", "keep_scratch", "program"},
    "scalesim": {"memory_gib", "python"},
    "systemc": {"program", "settings"},
    "systemc-lasting": {"program", "settings"},
    "verilator": {"program"},
    "verilator-mem": {"program"},
    COMMAND: {"command", "inputs", "keep_scratch", "ok_exit_codes", "refuse", "value"},
}


@pytest.mark.parametrize("name", [*registry.names(), COMMAND])
def test_fields_that_no_client_chooses(name):
    assert server_side(registry.find(name)) == EXPECTED.get(name, set())


def configure(address, config, credentials=None, metadata=()):
    channel = grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
    with channel:
        request = pb.ConfigureRequest(session_id="stranger", config=codec.to_struct(config))
        return pb_grpc.ComponentServiceStub(channel).Configure(request, timeout=5, metadata=metadata)


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, fields in sorted(EXPECTED.items()) for field in sorted(fields)]
)
def test_a_client_is_refused_by_the_name_of_the_field(name, field, tmp_path):
    server, _, address = start(registry.find(name), f"unix:{tmp_path}/c")
    try:
        with pytest.raises(grpc.RpcError) as caught:
            configure(address, {field: f"/bin/touch {tmp_path}/ran"})
    finally:
        server.stop(None)
    why = json.loads(caught.value.details())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert why["field"] == field and "server alone" in why["allowed"]


def test_a_client_s_command_never_runs(tmp_path):
    """Not even where everybody is served; not beside a command of the server's own."""
    mine = {"command": ["touch", str(tmp_path / "ran")], "value": "(?P<value>.)"}
    own = {"command": ["echo", "1"], "value": "(?P<value>1)", "unit": "ns"}
    for settings in ({}, own):
        server, _, address = start(registry.find(COMMAND), "127.0.0.1:0", Security(insecure=True), own=settings)
        try:
            with pytest.raises(grpc.RpcError, match="server alone"):
                configure(address, mine)
            if settings:
                configure(address, {"timeout_s": 5})
                request = pb.ConfigureRequest(session_id="same", config=codec.to_struct(own))
                with grpc.insecure_channel(address) as channel:
                    pb_grpc.ComponentServiceStub(channel).Configure(request, timeout=5)
        finally:
            server.stop(None)
    assert not (tmp_path / "ran").exists()


def test_nested_paths_are_the_server_s():
    from pathlib import Path

    class Strict(BaseModel):
        file: Path | None = None

    class Deep(Config):
        parts: list[Strict] = []
        count: int = 1

    class Model:
        config_schema = Deep.model_json_schema

    assert server_side(Model) == {"parts"}


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "[::1]:0", "0.0.0.0:0", "[::]:0", "unix"])
@pytest.mark.parametrize("tls", [False, True])
def test_no_form_of_listening_serves_strangers(listen, tls, cli, certs, tmp_path):  # noqa: F811
    """TLS alone says who the server is, not who its client is."""
    open_folder = tmp_path / "open"
    open_folder.mkdir(mode=0o755)
    open_folder.chmod(0o755)
    address = f"unix:{open_folder}/c.sock" if listen == "unix" else listen
    more = ("--tls-cert", certs / "nvlink0.pem", "--tls-key", certs / "nvlink0.key") if tls else ()
    done = cli("serve-component", "alpha-beta", "--listen", address, *more)
    assert done.exit_code == 2 and "--insecure" in done.output, done.output


def test_a_folder_for_a_socket_is_made_private(tmp_path):
    server, _, _ = start(registry.find("alpha-beta"), f"unix:{tmp_path}/made/c.sock")
    server.stop(None)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700
    (tmp_path / "made").chmod(0o750)
    with pytest.raises(ListenError, match="mode 0750"):
        start(registry.find("alpha-beta"), f"unix:{tmp_path}/made/c.sock")


CONFIG = {"bandwidth_gb_s": 100, "latency_ns": 5}


def test_without_certificate_or_token_nothing_is_configured(certs, tmp_path):  # noqa: F811
    authority = (certs / "ca.pem").read_bytes()
    make_certificates(tmp_path / "other", ["me"])
    stranger = [(tmp_path / "other" / f"client.{kind}").read_bytes() for kind in ("key", "pem")]
    with served("alpha-beta", *secured(certs)) as address:
        for credentials in (
            None,
            grpc.ssl_channel_credentials(authority),
            grpc.ssl_channel_credentials(authority, *stranger),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                configure(address, CONFIG, credentials)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    (tmp_path / "token").write_text("a secret")
    arguments = ("--tls-cert", certs / "nvlink0.pem", "--tls-key", certs / "nvlink0.key", "--token-file")
    with served("alpha-beta", *arguments, tmp_path / "token") as address:
        known = grpc.ssl_channel_credentials(authority)
        for sent in ((), (("authorization", "Bearer wrong"),)):
            with pytest.raises(grpc.RpcError) as caught:
                configure(address, CONFIG, known, sent)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        configure(address, CONFIG, known, (("authorization", "Bearer a secret"),))


def test_its_own_configuration_is_checked_at_once(cli, tmp_path):
    for text, why in (
        ("{command: []}", "at least 1 item"),
        ("{comand: [a]}", "did you mean 'command'"),
        ("{value: a, value: b}", "is there twice"),
        ("[1, 2]", "must be a mapping"),
    ):
        (tmp_path / "own.yaml").write_text(text)
        done = cli("serve-component", COMMAND, "--listen", f"unix:{tmp_path}/c", "--config", tmp_path / "own.yaml")
        assert done.exit_code == 2 and why in done.output, done.output
