"""A DAP client launches, breaks, steps both ways, looks, edits, ends."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys

import pytest

from ..conftest import ROOT
from .dap_client import Client
from .transcripts import FOLDER

PD = str(FOLDER / "pd.yaml")


@pytest.fixture
def client():
    """Over standard input and output."""
    command = [sys.executable, "-m", "metronome", "debug", "--dap-stdio"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield Client(process.stdout, process.stdin)
    finally:
        process.stdin.close()
        assert process.wait(20) == 0, process.stderr.read()
        process.stdout.close()
        process.stderr.close()


def launched(client, **arguments):
    client.request("initialize", adapterID="metronome", linesStartAt1=True)
    client.request("launch", program=PD, **arguments)
    client.event("initialized")
    return client


def started(client):
    client.request("configurationDone")
    return client.event("stopped")


def frames(client, thread):
    return client.request("stackTrace", threadId=thread)["stackFrames"]


def variables(client, reference):
    return {v["name"]: v for v in client.request("variables", variablesReference=reference)["variables"]}


def test_a_whole_session(client):
    capabilities = client.request("initialize", adapterID="metronome")
    assert capabilities["supportsStepBack"] and capabilities["supportsDataBreakpoints"]
    client.request("launch", program=PD)
    client.event("initialized")
    set_ = client.request(
        "setFunctionBreakpoints",
        breakpoints=[
            {"name": "nvlink:send", "condition": "time > 20ms"},
            {"name": "nobody"},
            {"name": "d", "condition": "about =="},
        ],
    )["breakpoints"]
    assert [b["verified"] for b in set_] == [True, False, False]
    assert "one of" in set_[1]["message"]
    client.request("setExceptionBreakpoints", filters=["fault", "late", "timeout"])
    assert started(client)["reason"] == "entry"
    threads = {t["name"]: t["id"] for t in client.request("threads")["threads"]}
    assert list(threads) == ["dispatcher", "p", "q", "d", "n0.accelerators", "nvlink"]
    assert not frames(client, threads["q"])  # nothing has happened there yet

    client.request("continue", threadId=1)
    stopped = client.event("stopped")
    assert stopped["reason"] == "breakpoint" and stopped["hitBreakpointIds"] == [set_[0]["id"]]
    assert stopped["threadId"] == threads["nvlink"]

    stack = frames(client, threads["nvlink"])
    here = stack[0]["line"]
    assert re.search(r"ms nvlink send", stack[0]["name"]) and stack[-1]["line"] == 1
    text = client.request("source", sourceReference=stack[0]["source"]["sourceReference"])["content"].splitlines()
    assert "send" in text[here - 1] and text[here - 1].split()[0] == str(here)
    assert frames(client, threads["d"])[0]["line"] < here

    scopes = {s["name"]: s["variablesReference"] for s in client.request("scopes", frameId=stack[0]["id"])["scopes"]}
    assert list(scopes) == ["Event", "nvlink", "State"]
    assert variables(client, scopes["Event"])["kind"]["value"] == "send"
    engines = variables(client, variables(client, scopes["State"])["engines"]["variablesReference"])
    kv = variables(client, variables(client, engines["d"]["variablesReference"])["kv"]["variablesReference"])
    assert kv["size"]["value"] == "199"
    assert variables(client, variables(client, scopes["nvlink"])["state"]["variablesReference"])["now_ps"]

    for step, change in (("stepIn", 1), ("stepBack", 0), ("stepBack", -1), ("stepIn", 0)):
        client.request(step, threadId=1)
        thread = client.event("stopped")["threadId"]
        assert frames(client, thread)[0]["line"] == here + change
    client.request("reverseContinue", threadId=1)
    client.event("stopped")
    client.request("setFunctionBreakpoints", breakpoints=[])
    client.request("continue", threadId=1)
    assert client.event("stopped")["description"] == "the run is complete"
    client.request("stepBack", threadId=1)
    assert frames(client, client.event("stopped")["threadId"])[0]["line"] == 522
    client.request("continue", threadId=1)
    client.event("stopped")
    client.request("continue", threadId=1)
    client.event("terminated")
    client.request("disconnect")


def test_breakpoints_on_lines_of_the_event_log(client):
    launched(client)
    source = {"name": "events", "sourceReference": 1}
    client.request("setBreakpoints", source=source, breakpoints=[{"line": 40}, {"line": 60, "hitCondition": "1"}])
    started(client)
    for line in (40, 60):
        client.request("continue", threadId=1)
        stopped = client.event("stopped")
        assert stopped["reason"] == "breakpoint"
        assert frames(client, stopped["threadId"])[0]["line"] == line
    client.request("disconnect")


def test_data_breakpoints_are_watches(client):
    launched(client)
    info = client.request("dataBreakpointInfo", name="engines/d/kv/free")
    assert info["dataId"] == "engines/d/kv/free"
    assert client.request("dataBreakpointInfo", name="engines/nobody")["dataId"] is None
    client.request(
        "setDataBreakpoints", breakpoints=[{"dataId": info["dataId"], "condition": "engines/d/kv/free < 100"}]
    )
    started(client)
    client.request("continue", threadId=1)
    stopped = client.event("stopped")
    assert stopped["reason"] == "data breakpoint" and "134 -> 98" in stopped["description"]
    client.request("disconnect")


def test_evaluate_takes_the_consoles_commands(client):
    launched(client)
    started(client)
    assert client.request("evaluate", expression="seek 100", context="repl")["result"].startswith("event 100 at")
    assert client.event("stopped")["reason"] == "goto"
    assert "n0.accelerators" in client.request("evaluate", expression="why 0", context="repl")["result"]
    assert client.request("evaluate", expression="engines/d/kv/size", context="watch")["result"] == "199"
    assert "error:" in client.request("evaluate", expression="nonsense", context="repl")["result"]
    assert "no 'nobody'" in client.request("evaluate", False, expression="engines/nobody", context="watch")
    targets = client.request("completions", text="print engines/", column=15)["targets"]
    assert [t["label"] for t in targets] == ["p", "q", "d"]
    client.request("disconnect")


def test_a_variable_is_set_and_the_run_goes_another_way(client):
    launched(client)
    started(client)
    client.request("evaluate", expression="seek 40", context="repl")
    thread = client.event("stopped")["threadId"]
    scopes = client.request("scopes", frameId=frames(client, thread)[0]["id"])["scopes"]
    state = variables(client, scopes[-1]["variablesReference"])
    d = variables(client, variables(client, state["engines"]["variablesReference"])["d"]["variablesReference"])
    config = d["config"]["variablesReference"]
    assert "cannot be set" in client.request(
        "setVariable", False, variablesReference=config, name="block_size", value="8"
    )
    assert client.request("setVariable", variablesReference=config, name="max_num_seqs", value="1")["value"] == "1"
    client.request("continue", threadId=1)
    client.event("stopped")
    assert client.request("evaluate", expression="print event", context="repl")["result"] == "1124"
    client.request("disconnect")


def test_bad_requests_are_answered_and_the_session_lives(client):
    assert "before launch" in client.request("threads", False)
    client.request("initialize", adapterID="metronome")
    assert "nowhere.yaml" in client.request("launch", False, program="nowhere.yaml")
    client.request("launch", program=PD)
    client.event("initialized")
    started(client)
    assert "is not supported" in client.request("modules", False, startModule=0)
    client.send({"seq": 99, "type": "request", "command": "stackTrace"})  # without its arguments
    assert client.request("threads")["threads"]
    client.request("disconnect")


def test_a_failing_component_is_an_exception(client, small, tmp_path):
    small["components"] = {
        "n0.accelerators": {"model": "tests.coupling.fakes:Dies", "run": "process", "on_failure": "fail"}
    }
    path = tmp_path / "dies.yaml"
    path.write_text(json.dumps(small))
    client.request("initialize", adapterID="metronome")
    client.request("launch", program=str(path), stopOnEntry=False)
    client.event("initialized")
    client.request("setExceptionBreakpoints", filters=["fault"])
    stopped = started(client)
    assert stopped["reason"] == "exception" and "SIGKILL" in stopped["text"]
    assert client.request("exceptionInfo", threadId=1)["exceptionId"] == "ComponentFailure"
    client.request("reverseContinue", threadId=1)
    client.event("stopped")
    client.request("disconnect")


def test_pause_interrupts_a_long_run(client, tmp_path):
    path = tmp_path / "long.yaml"
    path.write_text((FOLDER / "pd.yaml").read_text().replace("num_requests: 12", "num_requests: 1000000"))
    client.request("initialize", adapterID="metronome")
    client.request("launch", program=str(path))
    client.event("initialized")
    started(client)
    client.request("continue", threadId=1)
    client.request("pause", threadId=1)
    stopped = client.event("stopped")
    assert stopped["reason"] == "pause" and stopped["description"] == "interrupted"
    client.request("disconnect")


def test_over_a_loopback_port():
    command = [sys.executable, "-m", "metronome", "debug", PD, "--dap", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline()
    port = int(re.search(r"127\.0\.0\.1:(\d+)", line)[1])
    with (
        socket.create_connection(("127.0.0.1", port)) as connection,
        connection.makefile("rb") as reader,
        connection.makefile("wb") as writer,
    ):
        client = Client(reader, writer)
        client.request("initialize", adapterID="metronome")
        client.request("launch", noDebug=False)  # the scenario of the command line
        client.event("initialized")
        assert started(client)["reason"] == "entry"
        client.request("next", threadId=1)
        client.event("stopped")
        client.request("disconnect")
    assert process.wait(20) == 0
    process.stderr.close()


def test_garbage_ends_the_session(client):
    client.send({"seq": 1, "type": "request", "command": "initialize", "arguments": {"adapterID": "x"}})
    client._writer.write(b"GET / HTTP/1.1\r\n\r\n")
    client._writer.flush()


def test_why_as_json(client):
    started(launched(client))
    client.request("continue", threadId=1)
    client.event("stopped")
    told = client.request("why", request=5)
    assert sum(part["before_ps"] + part["after_ps"] for part in told["parts"]) == told["latency_ps"]
    other = client.request("why", request=5, **{"without": [4], "with": {"cluster.networks.0.bandwidth_gb_s": 900}})
    assert sum(part["there_ps"] - part["here_ps"] for part in other["parts"]) == other["difference_ps"] != 0
    assert other["here_ps"] == told["latency_ps"] and other["without"] == [4]
    assert "another workload" in client.request("why", success=False, request=5, **{"with": {"seed": 3}})
    assert "arguments are missing" in client.request("why", success=False)
    client.request("disconnect")
