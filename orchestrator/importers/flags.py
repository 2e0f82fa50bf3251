"""A command line read by a table of its tool's flags: what each is called, what it takes, what becomes of it.

The tables are data (`tables/*.yaml`). A flag is *taken* (it is a field of the instance, or code reads it), *without
effect* on a simulation, or *refused* for what the simulation would get wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from ..errors import InputError

#: kinds of value that stand alone, or that several words may follow
ALONE, MANY = ("switch", "toggle"), ("list", "ints")
#: what vLLM reads as a number of tokens: 1k = 1,000, 2.5k = 2,500, 1K = 1,024
SIZE = re.compile(r"^(\d+(?:\.\d+)?)([kKmMgG]?)$")
FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True, slots=True)
class Flag:
    """One row of a table.

    Attributes:
        name: as users write it, with its dashes.
        takes: what kind of value follows it.
        sets: field of the instance that it is. reads: word for the code that reads it.
        nothing: why it has no effect. wrong: what the simulation would get wrong.
        values: with ``sets`` those that can be said here, with ``wrong`` those that are harmless.
    """

    name: str
    short: str = ""
    takes: str = "text"
    sets: str = ""
    reads: str = ""
    nothing: str = ""
    wrong: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """The flags of one tool, by every spelling; ``source`` says where they are from.

    With ``abbreviates`` a flag may be written by its beginning, as Python's argparse lets it be.
    """

    source: str
    flags: dict[str, Flag]
    abbreviates: bool = False

    def find(self, where: str, spelling: str) -> tuple[Flag, bool]:
        """The flag written so, and whether in its negative form. Raises InputError with the nearest known one."""
        name = spelling.replace("_", "-") if spelling.startswith("--") else spelling
        if name in self.flags:
            return self.flags[name], False
        positive = self.flags.get("--" + name.removeprefix("--no-"))
        if name.startswith("--no-") and positive is not None and positive.takes == "toggle":
            return positive, True
        longer = {self.flags[full] for full in self.flags if self.abbreviates and full.startswith(name)}
        if len(longer) == 1 and name.startswith("--"):
            return longer.pop(), False
        near = get_close_matches(name, self.flags, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        if longer:
            hint = f"; it may stand for {', '.join(sorted(flag.name for flag in longer))}"
        raise InputError(where, spelling, None, f"is no flag of {self.source.partition(',')[0]}{hint}")


@cache
def table(name: str) -> Table:
    """The table of that name."""
    data = yaml.safe_load(files(__package__).joinpath("tables", f"{name}.yaml").read_text())
    found: dict[str, Flag] = {}
    for spelling, row in {**data["flags"], **data.get("older", {})}.items():
        values = tuple(map(str, row.pop("values", ())))
        if "nothing" in row:
            row["nothing"] = data["reasons"][row["nothing"]]
        flag = Flag(spelling.replace("_", "-"), values=values, **row)
        for alias in (flag.name, *flag.short.split()):
            found[alias.replace("_", "-") if alias.startswith("--") else alias] = flag
    return Table(data["source"], found, data.get("abbreviates", False))


def read(table: Table, where: str, words: list[str]) -> tuple[list[str], dict[Flag, Any]]:
    """Positional words, and the value of each flag given (the last where it is given twice).

    Dotted flags (``--compilation-config.mode 3``) become one mapping. Raises InputError.
    """
    plain: list[str] = []
    given: dict[Flag, Any] = {}
    rest = iter(_spelled_out(words))
    ahead = next(rest, None)
    while ahead is not None:
        word, ahead = ahead, next(rest, None)
        if not word.startswith("-") or word == "-":
            plain.append(word)
            continue
        spelling, equals, text = word.partition("=")
        spelling, dot, path = spelling.partition(".")
        flag, negative = table.find(where, spelling)
        if flag.takes in ALONE:
            if equals or dot:
                raise InputError(where, word, None, "takes no value")
            given[flag] = not negative
            continue
        texts = [text] if equals else []
        most = 1 if flag.takes not in MANY or dot else len(words)
        while not equals and ahead is not None and len(texts) < most and not _is_flag(ahead):
            texts.append(ahead)
            ahead = next(rest, None)
        if not texts and flag.takes != "optional":
            raise InputError(where, spelling, None, "needs a value")
        if dot:
            given[flag] = _merge(where, flag, given.get(flag), path, texts[0])
        else:
            given[flag] = _value(where, flag, texts)
    return plain, given


def _spelled_out(words: list[str]) -> Iterator[str]:
    """``-O3`` as vLLM reads it."""
    for word in words:
        if word.startswith("-O") and len(word) > 2:
            yield from ("--optimization-level", word[2:].removeprefix("="))
        else:
            yield "--optimization-level" if word == "-O" else word


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not re.fullmatch(r"-\d+(\.\d+)?", word)


def _merge(where: str, flag: Flag, before: Any, path: str, text: str) -> dict[str, Any]:
    """One key of a mapping that is given key by key."""
    if flag.takes != "json":
        raise InputError(where, f"{flag.name}.{path}", None, f"{flag.name} takes no keys")
    mapping: dict[str, Any] = before if isinstance(before, dict) else {}
    spot = mapping
    *parents, last = path.removesuffix("+").split(".")
    for key in parents:
        spot = spot.setdefault(key, {})
        if not isinstance(spot, dict):
            raise InputError(where, f"{flag.name}.{path}", None, f"{key} has a value already")
    spot[last] = text.split(",") if path.endswith("+") else yaml.safe_load(text)
    return mapping


def _value(where: str, flag: Flag, texts: list[str]) -> Any:
    """What the words after a flag say, by its kind. Raises InputError."""
    if flag.takes in MANY:
        return [_one(where, flag, text) for text in texts]
    return _one(where, flag, texts[0]) if texts else True


def _one(where: str, flag: Flag, text: str) -> Any:
    try:
        if flag.takes in ("int", "ints"):
            return int(text)
        if flag.takes == "number":
            return float(text)
        if flag.takes == "json":
            return json.loads(text)
        if flag.takes == "size":
            return _size(text)
    except (ValueError, RecursionError):
        kinds = {"json": "JSON", "size": "a number such as 8192, 8k or 8K", "number": "a number"}
        raise InputError(where, flag.name, text, f"must be {kinds.get(flag.takes, 'a whole number')}") from None
    return text


def _size(text: str) -> int | str:
    """A number of tokens; ``auto`` and -1 stay what they are. ValueError if it is neither."""
    if text in ("auto", "-1"):
        return text
    match = SIZE.match(text)
    if match is None:
        raise ValueError(text)
    return int(float(match[1]) * FACTORS[match[2]]) if match[2].islower() else int(match[1]) * FACTORS[match[2]]
