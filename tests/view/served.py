"""`metronome view` as users start it: a process of its own, spoken to over HTTP."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlencode, urlsplit

from ..conftest import interruptible


class Served:
    """A viewer's process. Use as a context manager: leaving it is Ctrl-C, which must end it with exit code 130."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "metronome", "view", *map(str, arguments)]
        self.process = interruptible(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + self.process.stderr.read()
        self.address = found[0]
        url = urlsplit(self.address)
        self.port, self.token = url.port, url.query.removeprefix("token=")

    def __enter__(self) -> Served:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=20)[1]
        if kind is not None:
            return
        assert (self.process.returncode, said.strip()) == (130, "metronome: interrupted"), (
            self.process.returncode,
            said,
        )

    def request(
        self, method: str, path: str, body: object = None, **headers: str | None
    ) -> tuple[int, HTTPResponse, bytes]:
        """Status, response and content; ``headers`` replace ours, None takes one away."""
        given = {"X-Metronome-Token": self.token} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        host = given.pop("Host", f"127.0.0.1:{self.port}")
        connection.putrequest(method, path, skip_host=True)
        for name, value in {"Host": host, **given}.items():
            if value is not None:
                connection.putheader(name, value)
        if data is not None and "Content-Length" not in given:
            connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, response, content

    def get(self, look: str, **query: object) -> dict:
        status, _, content = self.request("GET", f"/api/{look}?{urlencode({'s': 1, **query})}")
        answer = json.loads(content)
        assert status == 200, answer
        return answer

    def post(self, action: str, **asked: object) -> dict:
        status, _, content = self.request("POST", f"/api/{action}", {"s": 1, **asked})
        answer = json.loads(content)
        assert status == 200, answer
        return answer

    def refused(self, method: str, path: str, body: object = None) -> str:
        status, _, content = self.request(method, path, body)
        assert status == 400, content
        return json.loads(content)["error"]

    def at_rest(self, s: int = 1, seconds: float = 60) -> dict:
        deadline = time.monotonic() + seconds
        while (here := self.get("here", s=s))["running"]:
            assert time.monotonic() < deadline, "it still runs"
            time.sleep(0.02)
        return here

    def move(self, verb: str, arg: str = "", s: int = 1, seconds: float = 60) -> dict:
        """A move, and where it has led when it is over."""
        self.post("move", verb=verb, arg=arg, s=s)
        return self.at_rest(s, seconds)
