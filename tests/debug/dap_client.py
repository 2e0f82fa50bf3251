"""A scripted Debug Adapter Protocol client: plain messages, each checked against the published schema."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import jsonschema


def schema():
    """The protocol's JSON schema, as debugpy carries it."""
    package = Path(find_spec("debugpy").origin).parent
    (path,) = package.rglob("debugProtocol.json")
    return json.loads(path.read_text())


class Client:
    """Over a pair of binary files. ``events`` are those received and not yet asked for."""

    def __init__(self, reader, writer):
        self._reader, self._writer, self._seq = reader, writer, 0
        self._schema, self._judges = schema(), {}
        self.events = []

    def check(self, message, definition):
        if definition not in self._judges:  # `jsonschema.validate` would judge the schema itself every time
            whole = {"$ref": f"#/definitions/{definition}", "definitions": self._schema["definitions"]}
            self._judges[definition] = jsonschema.validators.validator_for(self._schema)(whole)
        self._judges[definition].validate(message)

    def request(self, command, success=True, **arguments):
        """Send a request; returns the body of its answer (or, not successful, its message)."""
        self._seq += 1
        message = {"seq": self._seq, "type": "request", "command": command}
        if arguments:
            message["arguments"] = arguments
        name = command[0].upper() + command[1:]
        if f"{name}Request" in self._schema["definitions"]:
            self.check(message, f"{name}Request")
        self.send(message)
        answer = self._until(lambda m: m["type"] == "response" and m["request_seq"] == self._seq)
        assert answer["success"] is success, answer
        own = f"{name}Response" not in self._schema["definitions"]  # a request that the protocol does not know
        self.check(answer, "ErrorResponse" if not success else "Response" if own else f"{name}Response")
        assert answer["command"] == command
        return answer.get("body") if success else answer["message"]

    def send(self, message):
        data = json.dumps(message).encode()
        self._writer.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        self._writer.flush()

    def event(self, name):
        """The next event of that name; returns its body."""
        for message in self.events:
            if message["event"] == name:
                self.events.remove(message)
                return message.get("body")
        found = self._until(lambda m: m["type"] == "event" and m["event"] == name)
        self.events.remove(found)
        return found.get("body")

    def _until(self, wanted):
        while True:
            message = self._read()
            if message["type"] == "event":
                self.check(message, message["event"][0].upper() + message["event"][1:] + "Event")
                self.events.append(message)
            if wanted(message):
                return message

    def _read(self):
        length = 0
        while (line := self._reader.readline()).strip():
            name, value = line.split(b":")
            assert name == b"Content-Length"
            length = int(value)
        assert length, "the adapter has ended the conversation"
        return json.loads(self._reader.read(length))
