"""Reading YAML that people write: safe types only, no key twice, errors that say the line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError

MOST_TEXT = 1 << 26
MOST_DIGITS = 40  # of a whole number

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader(_BASE):  # type: ignore[misc]
    """A safe loader that refuses what a mapping says twice (the last one would win in silence)."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """PyYAML's own constructors raise what comes, for a tag that says what the text is not."""
        try:
            return super().construct_object(node, deep)
        except (LookupError, AttributeError) as error:
            raise yaml.constructor.ConstructorError(None, None, f"{node.tag}: {error}", node.start_mark) from None

    def whole(self, node: Any) -> int:
        """A whole number. 010 for eight and 1:30 for ninety, which YAML 1.1 reads so and nobody means, are refused."""
        text = self.construct_scalar(node)
        digits = text.lstrip("+-")
        if len(text) > MOST_DIGITS:
            raise yaml.constructor.ConstructorError(None, None, "a number of too many digits", node.start_mark)
        if ":" in text or (digits[:1] == "0" and digits[1:].isdigit()):
            problem = f"{text} means different numbers to different readers: no colon, no leading zero; or quote it"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        value = int(super().construct_yaml_int(node))
        if abs(value) >= 2**63:
            raise yaml.constructor.ConstructorError(None, None, f"{text} has more than 64 bits", node.start_mark)
        return value


Loader.add_constructor("tag:yaml.org,2002:int", Loader.whole)

# As YAML 1.2 has it, and everybody means it: PyYAML takes 1e2 for a text.
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def parse(where: str, text: str) -> Any:
    """The content of a YAML text. Raises InputError with the line of what is malformed."""
    try:
        return yaml.load(text, Loader=Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(where + line, "YAML", None, f"is malformed: {problem}") from None
    except RecursionError:
        raise InputError(where, "YAML", None, "is nested too deeply") from None
    except (ValueError, OverflowError, TypeError) as error:  # a date of month 13, a key that is a list
        raise InputError(where, "YAML", None, f"is malformed: {error}") from None


def parse_value(where: str, text: str) -> Any:
    """A value given on the command line. Raises InputError."""
    try:
        return parse(where, text)
    except InputError as error:
        raise InputError(where, "value", text, f"must be a YAML value, and {error.allowed}") from None


def read_text(path: Path) -> str:
    """Of a file that people wrote, UTF-8. Raises OSError, UnicodeDecodeError, InputError if it is far too long."""
    with path.open(encoding="utf-8") as file:
        text = file.read(MOST_TEXT + 1)
    if len(text) > MOST_TEXT:
        raise InputError(str(path), "file", None, f"has more than {MOST_TEXT} characters: that is no scenario")
    return text


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises InputError."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), "file", None, f"cannot be read: {error}") from None
    data = parse(str(path), text)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InputError(str(path), "config", data, "must be a mapping")
    return data
