"""Who may ask: whoever has the token, from this machine, from the page itself."""

from __future__ import annotations

import json
import socket

import pytest
from metronome.orchestrator.view.server import MOST_BYTES

from .served import Served


@pytest.fixture(scope="module")
def served():
    with Served("slow-link") as served:
        yield served


def test_the_page_lets_nothing_in_from_elsewhere(served):
    status, response, content = served.request("GET", f"/?token={served.token}", X_Metronome_Token=None)
    assert status == 200 and response.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and "connect-src 'self'" in policy
    assert response.headers["Referrer-Policy"] == "no-referrer" and response.headers["Cache-Control"] == "no-store"
    assert b"http:" not in content.replace(b"http://www.w3.org/2000/svg", b"") and b"https:" not in content
    assert served.token.encode() not in content


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=wrong", "/api/here?s=1", "/api/progress", "/nothing"])
def test_without_the_token_nothing_is_answered(served, path):
    for token in (None, "", "wrong", served.token[:-1], "ü"):
        status, _, content = served.request("GET", path, X_Metronome_Token=token)
        assert (status, "token" in json.loads(content)["error"]) == (403, True)


def test_a_token_in_the_query_opens_the_page_only(served):
    assert served.request("GET", f"/api/here?s=1&token={served.token}", X_Metronome_Token=None)[0] == 403
    assert served.request("POST", f"/api/move?token={served.token}", {"s": 1}, X_Metronome_Token=None)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": None},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
    ids=str,
)
def test_another_host_or_origin_is_refused_even_with_the_token(served, headers):
    for method, path, body in (
        ("GET", f"/?token={served.token}", None),
        ("POST", "/api/move", {"s": 1, "verb": "end"}),
    ):
        assert served.request(method, path, body, **headers)[0] == 403
    assert served.get("here")["position"] == 1


def test_the_page_itself_may_ask(served):
    own = {"Origin": f"http://127.0.0.1:{served.port}", "Sec_Fetch_Site": "same-origin"}
    assert served.request("GET", "/api/here?s=1", **own)[0] == 200


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"x" * (MOST_BYTES + 1), {}, 413),
        (b"{}", {"Content_Length": "1e9"}, 413),
        (b"", {"Content_Length": None}, 413),
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b"\xff", {}, 400),
    ],
    ids=str,
)
def test_what_is_no_small_json_object_is_refused(served, body, headers, status):
    assert served.request("POST", "/api/move", body, **headers)[0] == status


def test_what_is_not_there_is_not_found(served):
    assert served.request("GET", "/api/nothing")[0] == 404
    assert served.request("GET", "/../../etc/passwd")[0] == 404
    assert served.request("GET", "/api/move")[0] == 404, "what acts is never a GET"
    assert served.request("POST", "/api/here", {})[0] == 404


def test_it_listens_on_loopback_only(served):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: asks which address this machine would use
        except OSError:
            pytest.skip("this machine has no other address")
        other = probe.getsockname()[0]
    if other.startswith("127."):
        pytest.skip("this machine has no other address")
    with pytest.raises(OSError):
        socket.create_connection((other, served.port), timeout=2)
