"""Conditions: ``kind == all_reduce and time > 5ms``, parsed into a small tree and never run as code.

A name is a field of the present event (kind, about, source, time, rank, ...) or a path of the state that
has a slash in it (``engines/a/kv/free``). A bare word on the right side of a comparison is text; numbers
may carry a unit of time. ``and``, ``or``, ``not`` and parentheses combine.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..units import PS_PER_MS, PS_PER_NS, PS_PER_S, PS_PER_US

UNITS = {"ps": 1, "ns": PS_PER_NS, "us": PS_PER_US, "ms": PS_PER_MS, "s": PS_PER_S}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?\d{1,18}(?:\.\d{1,18})?)(?P<unit>ps|ns|us|ms|s)?(?![\w./])|(?P<text>'[^']*'|\"[^\"]*\")"
    r"|(?P<op>==|!=|<=|>=|<|>|\(|\)|&&|\|\|)|(?P<word>/?[A-Za-z_][\w.#/:\-]*))"
)
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}

DEEPEST = 200  # parts of a condition
Names = Callable[[str], Any]  # the value of a name; raises InputError


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition; ``text`` as it was written."""

    text: str
    root: Any

    def holds(self, names: Names) -> bool:
        """Raises InputError for a name nobody knows, or values that cannot be compared."""
        return bool(_value(self.root, names))


@dataclass(frozen=True, slots=True)
class _Name:
    name: str


@dataclass(frozen=True, slots=True)
class _Literal:
    value: Any


@dataclass(frozen=True, slots=True)
class _Compare:
    op: str
    left: Any
    right: Any


@dataclass(frozen=True, slots=True)
class _Junction:
    word: str  # and | or | not
    parts: tuple[Any, ...]


def parse(text: str) -> Condition:
    """Raises InputError, with the place, for what is no condition."""
    tokens = _tokens(text)
    parser = _Parser(text, tokens)
    root = parser.either()
    if parser.peek is not None:
        raise parser.bad(f"'{parser.peek[1]}' is one too many")
    return Condition(text, root)


def number(text: str) -> int:
    """A count, or a time with a unit in ps, with a space before the unit or none; raises InputError."""
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)(?: *(ps|ns|us|ms|s))?", text)
    if match is None:
        raise InputError("debugger", "number", text, "a number, or a time such as 250us, 5ms or 1.5s")
    amount, unit = match.groups()
    return round(float(amount) * UNITS[unit]) if unit else int(float(amount))


def _tokens(text: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    place = 0
    text = text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise InputError("debugger", "condition", text, f"cannot be read from '{text[place:].strip()}' on")
        place = match.end()
        if match["number"]:
            amount = float(match["number"]) if "." in match["number"] else int(match["number"])
            found.append(("literal", round(amount * UNITS[match["unit"]]) if match["unit"] else amount))
        elif match["text"]:
            found.append(("literal", match["text"][1:-1]))
        elif match["op"]:
            found.append(("op", {"&&": "and", "||": "or"}.get(match["op"], match["op"])))
        else:
            found.append(("op" if match["word"] in ("and", "or", "not") else "word", match["word"]))
    return found


class _Parser:
    """Recursive descent: either = both (or both)*, both = one (and one)*, one = not one | (either) | comparison."""

    def __init__(self, text: str, tokens: list[tuple[str, Any]]) -> None:
        self._text, self._tokens, self._next, self._depth = text, tokens, 0, 0

    @property
    def peek(self) -> tuple[str, Any] | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def bad(self, why: str) -> InputError:
        return InputError("debugger", "condition", self._text, why)

    def _take(self, value: str) -> bool:
        if self.peek == ("op", value):
            self._next += 1
            return True
        return False

    def either(self) -> Any:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else _Junction("or", tuple(parts))

    def _both(self) -> Any:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else _Junction("and", tuple(parts))

    def _one(self) -> Any:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self.bad(f"more than {DEEPEST} parentheses and nots")
        if self._take("not"):
            return _Junction("not", (self._one(),))
        if self._take("("):
            inner = self.either()
            if not self._take(")"):
                raise self.bad("a ')' is missing")
            return inner
        left = self._operand()
        token = self.peek
        if token is None or token[0] != "op" or token[1] not in _COMPARE:
            return left
        self._next += 1
        right = self._operand()
        if isinstance(right, _Name) and "/" not in right.name:
            right = _Literal({"true": True, "false": False, "none": None}.get(right.name, right.name))
        return _Compare(token[1], left, right)

    def _operand(self) -> Any:
        token = self.peek
        if token is None:
            raise self.bad("ends where a name or a number should follow")
        kind, value = token
        if kind == "op":
            raise self.bad(f"'{value}' where a name or a number should be")
        self._next += 1
        return _Name(value) if kind == "word" else _Literal(value)


def _value(node: Any, names: Names) -> Any:
    if isinstance(node, _Name):
        return names(node.name)
    if isinstance(node, _Literal):
        return node.value
    if isinstance(node, _Junction):
        if node.word == "not":
            return not _value(node.parts[0], names)
        combine = all if node.word == "and" else any
        return combine(_value(part, names) for part in node.parts)
    left, right = _value(node.left, names), _value(node.right, names)
    if node.op in ("==", "!="):
        return _COMPARE[node.op](left, right)
    if left is None or right is None:
        return False  # what is not there yet is neither more nor less
    try:
        return _COMPARE[node.op](left, right)
    except TypeError:
        raise InputError("debugger", "condition", f"{left} {node.op} {right}", "these cannot be compared") from None
