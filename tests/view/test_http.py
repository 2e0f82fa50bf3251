"""Every action and every look of the view over HTTP, against the session that the console drives."""

from __future__ import annotations

import json
import socket
import time

import pytest
from metronome.orchestrator.debug import looks
from metronome.orchestrator.debug.moves import Moves
from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.debug.why import why
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.source import LiveSource

from .served import Served


@pytest.fixture(scope="module")
def served():
    with Served("slow-link") as served:
        yield served


@pytest.fixture(scope="module")
def session():
    """The same run in this process, at its end."""
    scenario, folder = load("slow-link", (), None)
    with DebugSession.live(scenario, Inputs(folder), LiveSource()) as session:
        session.run()
        yield session


@pytest.fixture
def ended(served, session):
    """Both at the end of the run, without stops."""
    served.move("end")
    for stop in served.get("here")["stops"]:
        served.post("change-stop", number=stop["number"], what="delete")
    session.stops.all.clear()
    session.seek(session.frontier)
    session.run(stops=False)
    return served, session


def place(here: dict) -> tuple[int, int]:
    return here["position"], int(here["now_ps"])


def test_it_rests_before_the_first_event_and_runs_to_the_end(session):
    with Served("slow-link") as served:
        first = served.get("here")
        assert (first["position"], first["mode"], first["event"]["kind"]) == (1, "live", "arrival")
        end = served.move("continue")
        assert (*place(end), end["mode"], end["reason"]) == (
            session.position,
            session.now_ps,
            "end",
            "the run is complete",
        )


@pytest.mark.parametrize(
    ("verb", "arg"),
    [
        ("start", ""),
        ("seek", "474"),
        ("seek", "2500ms"),
        ("step", ""),
        ("step", "17"),
        ("next", ""),
        ("finish", ""),
        ("finish", "request 40"),
        ("back", ""),
        ("back", "300"),
        ("back-in-time", ""),
        ("reverse-continue", ""),
        ("continue", ""),
    ],
)
def test_a_move_leads_where_the_console_s_does(ended, verb, arg):
    served, session = ended
    moves = Moves(session)
    do = {
        "start": lambda: moves.seek("1"),
        "seek": lambda: moves.seek(arg),
        "step": lambda: moves.step(int(arg or 1)),
        "next": moves.next,
        "finish": lambda: moves.finish(arg.split()),
        "back": lambda: moves.back(int(arg or 1)),
        "back-in-time": moves.back_in_time,
        "reverse-continue": session.back_to,
        "continue": session.run,
    }
    served.move("seek", "2000")
    session.seek(2000)
    here = served.move(verb, arg)
    do[verb]()
    assert place(here) == (session.position, session.now_ps)
    assert here["text"] == looks.here(session)


def test_stops_are_those_of_the_console(ended):
    served, _ = ended
    served.move("start")
    served.post("stop", text="break uplink-1:send if time > 2s")
    here = served.move("continue")
    assert here["stops"] == [
        {
            "number": here["stops"][0]["number"],
            "text": here["stops"][0]["text"],
            "hits": 1,
            "enabled": True,
            "hit": True,
        }
    ]
    assert "uplink-1:send if time > 2s" in here["stops"][0]["text"]
    assert here["event"]["source"] == "uplink-1" and int(here["now_ps"]) > 2e12
    before = here["position"]
    served.post("change-stop", number=here["stops"][0]["number"], what="disable")
    served.post("stop", text="watch engines/decode/running > 3")
    there = served.move("continue")
    assert there["position"] > before and "engines/decode/running" in there["reason"]
    assert [stop["hit"] for stop in there["stops"]] == [False, True]
    served.post("change-stop", number=there["stops"][1]["number"], what="delete")
    served.post("stop", text="break request 30")
    assert "request 30 arrives" in served.move("continue")["reason"]
    served.post("change-stop", number=there["stops"][0]["number"], what="enable")
    assert served.move("reverse-continue")["event"]["source"] == "uplink-1"


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("GET", "/api/here?s=9", None, "session = 9: one of 1"),
        ("GET", "/api/here", None, "a whole number from 0"),
        ("GET", "/api/timeline?s=1&from=-1&span=5&width=9", None, "from = '-1'"),
        ("GET", "/api/timeline?s=1&from=0&span=0&width=9", None, "span = '0'"),
        ("GET", "/api/timeline?s=1&from=0&span=5&width=99999", None, "width"),
        ("GET", "/api/events?s=1&around=999999", None, "are known"),
        ("GET", "/api/chain?s=1&event=999999", None, "are known"),
        ("GET", "/api/why?s=1&request=77777", None, "has not arrived yet"),
        ("GET", "/api/messages?s=1&component=nobody", None, "one of n0.accelerators"),
        ("GET", "/api/state?s=1&path=engines/nobody", None, "no 'nobody' in /engines"),
        ("POST", "/api/move", {"s": 1, "verb": "jump"}, "one of continue"),
        ("POST", "/api/move", {"s": 1, "verb": "seek", "arg": "soon"}, "a number, or a time"),
        ("POST", "/api/move", {"s": 1, "verb": "seek", "arg": "0"}, "numbered from 1"),
        ("POST", "/api/move", {"s": "1", "verb": "step"}, "must be a whole number"),
        ("POST", "/api/move", {"s": 1, "verb": 5}, "must be a text"),
        ("POST", "/api/stop", {"s": 1, "text": "quit"}, "begins with break"),
        ("POST", "/api/stop", {"s": 1, "text": "break nobody"}, "one of n0.accelerators"),
        ("POST", "/api/stop", {"s": 1, "text": "break decode if colour == red"}, "one of event, time"),
        ("POST", "/api/change-stop", {"s": 1, "number": 999, "what": "delete"}, "no stop of that number"),
        ("POST", "/api/fork", {"s": 1, "path": "engines/decode/config/colour", "value": "red"}, "colour"),
        ("POST", "/api/fork", {"s": 1, "path": "seed.x", "value": "1", "since": "start"}, "seed"),
        ("POST", "/api/close", {"s": 1}, "the first one is not closed"),
    ],
)
def test_what_cannot_be_is_refused_in_words_and_changes_nothing(ended, method, path, body, says):
    served, _ = ended
    before = served.get("here") | {"version": 0}
    assert says in served.refused(method, path, body)
    assert served.get("here") | {"version": 0} == before


def test_looks_are_of_the_moment(ended):
    served, session = ended
    served.move("seek", "474")
    session.seek(474)
    found, causes = served.get("chain"), looks.chain(session, 474)
    drawn = [event["number"] for event in found["chain"]]
    assert (drawn[:50], drawn[-4:]) == (causes[:50], causes[-4:])
    assert len(drawn) + found["left_out"] == len(causes)
    around = served.get("events")
    assert [event["number"] for event in around["events"]] == list(range(462, 487))
    engines = {engine["name"]: engine for engine in served.get("engines")["engines"]}
    decode = engines["decode"]
    assert sum(request["blocks"] for request in decode["requests"]) == decode["kv"]["used"] > 0
    states = {r["id"]: r["state"] for r in decode["requests"]}
    assert {number for number, state in states.items() if state == "moving"} == {7, 9}
    assert states[3] == "waiting", "its K and V are here"
    cluster = served.get("cluster")
    assert next(one for one in cluster["components"] if one["name"] == "uplink-1")["doing"]
    assert [node["name"] for node in cluster["picture"]["nodes"]] == ["n0", "n1", "n2"]
    computing = {one["name"]: one["steps"] for one in cluster["instances"]}
    assert computing == {"prefill-0": [6], "prefill-1": [], "decode": [200]}
    assert served.get("messages", component="uplink-1")["messages"][0]["event"] < 474
    assert {"name": "blocks", "below": False, "value": "312"} in served.get("state", path="requests/3")["nodes"]
    paths = [one["path"] for one in served.get("settable")["settable"]]
    assert paths[0] == "router/policy" and "engines/decode/config/max_num_seqs" in paths
    listed = served.get("requests")
    assert {one["id"] for one in listed["alive"]} == {3, 6, 7, 8, 9, 10} and listed["done"] == 5


def test_why_adds_up_and_says_what_the_console_says(ended):
    served, session = ended
    answer = served.get("why", request=3)
    split = why(session, 3)
    parts = sum(int(part["before_ps"]) + int(part["after_ps"]) for part in answer["parts"])
    assert parts == int(answer["total_ps"]) == split.total_ps
    first = sum(int(part["before_ps"]) for part in answer["parts"])
    assert first == int(answer["first_ps"])
    assert answer["parts"][0]["who"] == "K and V over uplink-1"
    assert answer["words"][0].startswith("request 3: 2032.512156 ms")


def test_the_time_line_can_be_looked_at_to_the_picosecond(ended):
    served, session = ended
    whole = served.get("timeline", **{"from": 0, "span": session.now_ps + 1, "width": 1000})
    steps = next(track for track in whole["tracks"] if track["name"] == "decode")["rows"][0]
    assert sum(steps["many"]) == sum(
        row.kind == "compute" and looks.source_of(session, row) == "decode" for row in session.log
    )
    assert len(steps["x"]) <= 1000
    begin = next(row.time_ps for row in session.log if row.kind == "send")
    near = served.get("timeline", **{"from": begin - 3, "span": 6, "width": 1000})
    ends = [
        row["end"][0]
        for track in near["tracks"]
        if track["name"].startswith("uplink")
        for row in track["rows"]
        if row["end"]
    ]
    assert 3 in ends, "the first transfer ends at the third picosecond of this window"


def test_a_fork_is_what_set_makes_of_the_run(session):
    with Served("slow-link") as served:
        served.move("end")
        served.move("seek", "474")
        made = served.post("fork", path="router/policy", value="round-robin")["session"]
        here = served.get("here", s=made)
        assert here["position"] == 474 and here["edits"] == [
            {"event": 474, "path": "router/policy", "value": "round-robin"}
        ]
        end = served.move("end", s=made)
        scenario, folder = load("slow-link", (), None)
        with DebugSession.live(scenario, Inputs(folder), LiveSource()) as other:
            other.seek(474)
            other.set("router/policy", "round-robin")
            other.run()
            assert place(end) == (other.position, other.now_ps)
        assert served.get("here")["position"] == 474, "the run as it was stays where it is"
        served.move("end")
        both = served.get("compare", s=1, other=made)
        assert [side["done"] for side in both["sides"]] == [60, 60] and both["changed_count"] > 0
        assert both["parts_at"]["event"] > 474
        faster = served.post("fork", path="cluster.networks.1.bandwidth_gb_s", value="50", since="start")["session"]
        served.move("end", s=faster)
        sides = served.get("compare", s=1, other=faster)["sides"]
        assert sides[1]["mean_e2el"] < sides[0]["mean_e2el"]
        served.post("close", s=made)
        assert [one["number"] for one in served.get("here")["sessions"]] == [1, faster]


def test_a_run_under_way_answers_tells_how_far_it_is_and_can_be_paused():
    with Served("quickstart", "--set", "workload.num_requests=1500") as served:
        served.post("move", verb="continue")
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as stream:
            ask = f"GET /api/progress HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nX-Metronome-Token: {served.token}\r\n\r\n"
            stream.sendall(ask.encode())
            text, said = "", []
            while not (said and said[-1]["eta_s"] and said[-1]["done"] > 20):
                text += stream.recv(65536).decode()
                said = [json.loads(part.split("data: ", 1)[1]) for part in text.split("\n\n")[:-1] if "data: " in part]
        assert all(one["total"] == 1500 and one["running"] == 1 for one in said)
        assert [one["position"] for one in said] == sorted(one["position"] for one in said)
        began = time.monotonic()
        assert served.get("here")["running"]
        assert time.monotonic() - began < 1, "it answers while it runs"
        assert "it runs; pause it first" in served.refused("POST", "/api/move", {"s": 1, "verb": "step"})
        served.post("pause")
        here = served.at_rest()
        assert here["reason"] == "interrupted" and here["mode"] == "live"
        served.post("stop", text="break request 1499")
        served.post("move", verb="reverse-continue")
        served.post("pause")
        after = served.at_rest()
        assert after["position"] in (here["position"], 1)


def test_a_recording_opens_played_and_a_run_without_one_is_run_again(tmp_path, cli, session):
    assert cli("run", "slow-link", "-o", tmp_path / "a", "--record", "--quiet").exit_code == 0
    assert cli("run", "slow-link", "-o", tmp_path / "b", "--quiet").exit_code == 0
    with Served(tmp_path / "a") as served:
        here = served.at_rest()
        assert place(here) == (session.position, session.now_ps) and here["mode"] == "end"
        served.move("seek", "474")
        made = served.post("fork", path="router/policy", value="round-robin")["session"]
        assert served.get("here", s=made)["mode"] == "live", "its components are started for the fork"
        assert served.move("end", s=made)["mode"] == "end"
    with Served(tmp_path / "b") as served:
        assert served.get("here")["mode"] == "live"
        assert place(served.move("end")) == (session.position, session.now_ps)


def test_what_cannot_be_opened_is_one_message(cli, tmp_path):
    done = cli("view", "slow-lnk")
    assert done.exit_code == 2 and "slow-link" in done.output
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = cli("view", "slow-link", "--port", taken.getsockname()[1])
        assert done.exit_code == 2 and "--port" in done.output and "cannot be listened on" in done.output
