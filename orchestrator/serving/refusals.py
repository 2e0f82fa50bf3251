"""Requests that no server would take: what vLLM's answers with HTTP 400, the others going on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..workload.request import Request
from .replica import Replica

REASONS = {
    "input + output tokens": "max_model_len",
    "KV blocks": "kv_cache",
    "KV tokens": "kv_cache",
    "image tokens": "images",
}  # by the field an engine names


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why, in a word to count by, and in full."""

    reason: str
    error: InputError


def refusal(request: Request, replicas: Sequence[Replica], decoders: Sequence[Replica] = ()) -> Refusal | None:
    """Why none of these replicas, or none of the ``decoders`` that are to go on, can serve it; None if one can."""
    where = f"request {request.id}"
    if request.input_tokens < 1:
        return Refusal("empty_prompt", InputError(where, "input tokens", request.input_tokens, "must be at least 1"))
    if request.output_tokens < 1:
        return Refusal("no_output", InputError(where, "output tokens", request.output_tokens, "must be at least 1"))
    return _by_all(request, replicas) or _by_all(request, decoders)


def _by_all(request: Request, replicas: Sequence[Replica]) -> Refusal | None:
    first: Refusal | None = None
    for replica in replicas:
        try:
            replica.engine.check(request)
        except InputError as error:
            first = first or Refusal(REASONS.get(error.field, error.field), error)
        else:
            return None
    return first
