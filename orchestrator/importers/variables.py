"""Environment variables of serving engines: those that are set beside a command line, or in it."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: of the engines, and of what they keep K and V with
OURS = re.compile(r"(?:VLLM|SGLANG|SGL|TRTLLM|TLLM|LMCACHE)_\w+")
#: VLLM_X=1 vllm serve, docker run -e VLLM_X=1, export VLLM_X=1 in a shell's line; -e VLLM_X has the caller's value
_WITHIN = re.compile(rf"(?<![\w-])({OURS.pattern})=('[^']*'|\"[^\"]*\"|[^\s;&|]*)")

Variables = dict[str, str | None]


def of_words(words: Iterable[str]) -> Variables:
    """Those that a command line sets itself; None is a value that it does not say."""
    found: Variables = {}
    for word in words:
        if OURS.fullmatch(word):
            found[word] = None
        for name, value in _WITHIN.findall(word):
            found[name] = value.strip("'\"")
    return found


def of_pairs(pairs: Iterable[tuple[object, object]]) -> Variables:
    """Those among names and values of a container; a value that is itself a variable is not known."""
    known = ((str(name), None if value is None or "$" in str(value) else str(value)) for name, value in pairs)
    return {name: value for name, value in known if OURS.fullmatch(name)}
