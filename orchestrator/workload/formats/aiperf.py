"""AIPerf's ``inputs.json``: sessions of payloads as they were sent to an OpenAI server.

Each payload is a turn; the next is sent when the one before is done. The answer's length is the payload's
``max_completion_tokens`` or ``max_tokens``. There are no times of arrival.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ...errors import InputError
from ..registry import Format, Reading, unlike
from ..request import Request
from ..rows import whole_json
from ..texts import Encode, TextOptions, encoder


class AiperfOptions(TextOptions):
    """An inputs.json of AIPerf, read whole."""

    format: Literal["aiperf"] = "aiperf"


def read(options: AiperfOptions, reading: Reading) -> Iterator[Request]:
    path = reading.path(options.path)
    content = whole_json(path, options.format)
    sessions = content.get("data") if isinstance(content, dict) else None
    if not isinstance(sessions, list) or not sessions:
        raise InputError(str(path), "data", None, f"must be a list of sessions{unlike(path, options.format)}")
    encode, number = encoder(options, reading), 0
    for place, session in enumerate(sessions):
        payloads = session.get("payloads") if isinstance(session, dict) else None
        if not isinstance(payloads, list) or not payloads:
            raise InputError(f"{path}: data[{place}]", "payloads", None, "must be a list of at least one payload")
        name = str(session.get("session_id", f"session-{place}"))
        request: Request | None = None
        for turn in range(len(payloads) - 1, -1, -1):
            where = f"{path}: data[{place}].payloads[{turn}]"
            inputs, outputs, ids = _payload(where, payloads[turn], encode)
            if payloads[turn].get("tools"):
                reading.note(f"{options.path}: tools is not read: the prompts lack their text")
            request = Request(number + turn, 0, inputs, outputs, ids, name, request)
        number += len(payloads)
        if request is not None:
            yield request


def _payload(where: str, payload: Any, encode: Encode) -> tuple[int, int, Any]:
    if not isinstance(payload, dict):
        raise InputError(where, "payload", payload, "must be an object")
    if payload.get("n") not in (None, 1):
        raise InputError(where, "n", payload["n"], "must be 1: several answers to one prompt are not modelled")
    if isinstance(payload.get("prompt"), str):
        text = payload["prompt"]
    else:
        messages = payload.get("messages")
        if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
            raise InputError(where, "messages", messages, "must be a list of messages, or prompt a text")
        text = "\n".join(_text(where, message.get("content")) for message in messages)
    limit = payload.get("max_completion_tokens", payload.get("max_tokens"))
    if type(limit) is not int or limit < 0:
        raise InputError(where, "max_tokens", limit, "must say how long the answer is")
    inputs, ids = encode(text)
    return inputs, limit, ids


def _text(where: str, content: Any) -> str:
    """A message's content: a text, or parts that are all texts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        return "".join(part["text"] for part in content)
    raise InputError(where, "content", content, "must be text: images and sound are not modelled")


def _looks_like(path: Path, head: bytes) -> bool:
    return b'"payloads"' in head


FORMAT = Format(AiperfOptions, read, _looks_like)
