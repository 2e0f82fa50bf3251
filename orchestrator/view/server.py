"""HTTP on loopback: the page, what it asks, and how it hears of a run under way.

Whoever asks must know the token, which only the address printed at the start has. What another site's script in the
same browser could send is refused besides: another Host (a name made to lead here), another Origin.
"""

from __future__ import annotations

import hmac
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from ..errors import InputError, MetronomeError
from . import page, pictures, requests
from .actions import ACTIONS
from .viewer import Viewer
from .watch import Watch

LOOPBACK = "127.0.0.1"
MOST_BYTES = 64 * 1024  # of what the page sends
HEARTBEAT_S = 10.0
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
Query = dict[str, str]
Look = Callable[[Viewer, Query], dict[str, Any]]

LOOKS: dict[str, Look] = {
    "here": lambda v, q: pictures.here(v, v.get(_int(q, "s"))),
    "timeline": lambda v, q: pictures.timeline(
        v.get(_int(q, "s")), _int(q, "from"), _int(q, "span", low=1), _int(q, "width", low=1, high=10_000)
    ),
    "events": lambda v, q: pictures.events(v.get(_int(q, "s")), _maybe(q, "around")),
    "chain": lambda v, q: pictures.chain(v.get(_int(q, "s")), _maybe(q, "event")),
    "engines": lambda v, q: pictures.engines(v.get(_int(q, "s"))),
    "cluster": lambda v, q: pictures.cluster(v.get(_int(q, "s"))),
    "messages": lambda v, q: pictures.messages(v.get(_int(q, "s")), q.get("component", ""), 40),
    "state": lambda v, q: pictures.tree(v.get(_int(q, "s")), q.get("path", "")),
    "settable": lambda v, q: pictures.settable(v.get(_int(q, "s"))),
    "requests": lambda v, q: requests.listing(v.get(_int(q, "s"))),
    "why": lambda v, q: requests.because_of(v.get(_int(q, "s")), _int(q, "request")),
    "compare": lambda v, q: requests.compare(v.get(_int(q, "s")), v.get(_int(q, "other"))),
}


def _int(query: Query, name: str, low: int = 0, high: int = 2**63 - 1) -> int:
    text = query.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise InputError("view", name, text, f"a whole number from {low} to {high}")
    return int(text)


def _maybe(query: Query, name: str) -> int | None:
    return _int(query, name) if query.get(name) else None


class Server(ThreadingHTTPServer):
    """Answers for its ``front``: a viewer or, until there is one, a run that is going on elsewhere. ``address`` is for
    a browser."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, front: Viewer | Watch, port: int) -> None:
        """Port 0 chooses a free one. Raises InputError where it cannot be listened on."""
        self.front, self.token = front, secrets.token_urlsafe(24)
        try:
            super().__init__((LOOPBACK, port), Handler)
        except (OSError, OverflowError) as error:
            raise InputError("view", "--port", port, f"cannot be listened on: {error}") from None
        self.hosts = {f"{name}:{self.server_address[1]}" for name in (LOOPBACK, "localhost")}

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.server_address[1]}/?token={self.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no error; what else is says so in one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"metronome: view: {type(error).__name__}: {error}", file=sys.stderr)


class Refused(Exception):
    """A request that is not answered; the text says why."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """One connection of a browser's."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "metronome", ""
    timeout = 60
    wbufsize, disable_nagle_algorithm = -1, True  # an answer is one packet, or the browser waits 40 ms for its rest

    def log_message(self, *args: object) -> None:
        """Addresses with tokens belong in no log."""

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        self._answered(self._post)

    def _answered(self, method: Callable[[], None]) -> None:
        try:
            method()
        except Refused as refused:
            self.close_connection = True
            self._send(refused.status, orjson.dumps({"error": str(refused)}))
        except MetronomeError as error:
            self._send(HTTPStatus.BAD_REQUEST, orjson.dumps({"error": str(error)}))
        except ConnectionError:
            self.close_connection = True
        except Exception as error:  # a fault of ours: the page says so, and goes on
            text = f"a fault of the view: {type(error).__name__}: {error}"
            print(f"metronome: {text}", file=sys.stderr)
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, orjson.dumps({"error": text}))

    def _allowed(self, token: str) -> None:
        """Raises Refused for whoever is not the page of this server."""
        host = self.headers.get("Host", "")
        if host not in self.server.hosts:
            raise Refused(HTTPStatus.FORBIDDEN, "this Host is not served here")
        if self.headers.get("Origin", f"http://{host}") != f"http://{host}":
            raise Refused(HTTPStatus.FORBIDDEN, "no other origin may ask")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise Refused(HTTPStatus.FORBIDDEN, "no other site may ask")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise Refused(HTTPStatus.FORBIDDEN, "the token is missing or wrong; use the address that was printed")

    def _viewer(self) -> Viewer:
        """Raises Refused while there is none."""
        if isinstance(self.server.front, Watch):
            raise Refused(HTTPStatus.CONFLICT, "the run is going on elsewhere; it can be looked into when it has ended")
        return self.server.front

    def _get(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == "/":
            self._allowed(query.get("token", ""))
            shown = "watch" if isinstance(self.server.front, Watch) else "view"
            self._send(HTTPStatus.OK, page.html(shown).encode(), "text/html; charset=utf-8", page.policy(shown))
            return
        self._allowed(self.headers.get("X-Metronome-Token", ""))
        name = url.path.removeprefix("/api/")
        if name == "watch":
            front = self.server.front
            self._send(HTTPStatus.OK, orjson.dumps(front.look() if isinstance(front, Watch) else {"over": True}))
        elif name == "progress":
            self._stream()
        elif name in LOOKS:
            viewer = self._viewer()
            self._send(HTTPStatus.OK, orjson.dumps(viewer.ask(lambda: LOOKS[name](viewer, query))))
        else:
            raise Refused(HTTPStatus.NOT_FOUND, f"there is nothing at {url.path}")

    def _post(self) -> None:
        self._allowed(self.headers.get("X-Metronome-Token", ""))
        asked, name = self._body(), urlsplit(self.path).path.removeprefix("/api/")
        viewer = self._viewer()
        if name == "pause":
            viewer.pause()
            self._send(HTTPStatus.OK, b"{}")
        elif name in ACTIONS:
            self._send(HTTPStatus.OK, orjson.dumps(viewer.ask(lambda: ACTIONS[name](viewer, asked))))
        else:
            raise Refused(HTTPStatus.NOT_FOUND, f"there is nothing at {self.path}")

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= MOST_BYTES):
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MOST_BYTES} bytes, with their length")
        try:
            asked = orjson.loads(self.rfile.read(int(length)))
        except orjson.JSONDecodeError:
            raise Refused(HTTPStatus.BAD_REQUEST, "is no JSON") from None
        if not isinstance(asked, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "must be a JSON object")
        return asked

    def _send(self, status: HTTPStatus, data: bytes, kind: str = "application/json", policy: str = "") -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", policy or "default-src 'none'")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self) -> None:
        """Server-sent events: how far it is, whenever that changes, until the page goes away."""
        viewer, seen = self._viewer(), -1
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        for name, value in {**HEADERS, "Content-Type": "text/event-stream", "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        while True:
            with viewer.changed:
                if viewer.version == seen:
                    viewer.changed.wait(HEARTBEAT_S)
                seen, progress = viewer.version, viewer.progress
            self.wfile.write(b"data: " + orjson.dumps({"version": seen, **progress}) + b"\n\n")
            self.wfile.flush()


@contextmanager
def listening(front: Viewer | Watch, port: int) -> Iterator[Server]:
    """While in this context it answers. Raises InputError."""
    with Server(front, port) as server:
        Thread(target=server.serve_forever, args=(0.1,), daemon=True, name="view server").start()
        try:
            yield server
        finally:
            server.shutdown()
