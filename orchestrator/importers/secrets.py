"""Secrets on a command line, which no file that is made of it repeats."""

from __future__ import annotations

import re

HIDDEN = "***"
#: what flags and variables of keys, tokens and passwords end with
_NAME = r"(?:api[-_]?keys?|access[-_]key|secret[-_]key|token|secret|password|passwd)"
#: --api-key and the like; --tokenizer, --max-tokens and --ssl-keyfile are none
_FLAG = re.compile(rf"--(?:[A-Za-z0-9]+[-_])*{_NAME}", re.IGNORECASE)
#: HF_TOKEN=..., --api-key=..., within a shell's line --api-key ..., too
_WITHIN = re.compile(
    rf"(?<![A-Za-z0-9])((?:--)?(?:[A-Za-z0-9]+[-_])*{_NAME}=|--(?:[A-Za-z0-9]+[-_])*{_NAME}\s+)"
    r"('[^']*'|\"[^\"]*\"|(?!-)\S+)",
    re.IGNORECASE,
)


def without_secrets(words: list[str]) -> list[str]:
    """The words of a command line with `***` in place of every value of a key, token or password."""
    found: list[str] = []
    secret = False
    for word in words:
        secret = secret and not word.startswith("-")
        found.append(HIDDEN if secret else _hidden(word))
        secret = secret or bool(_FLAG.fullmatch(word))
    return found


def _hidden(word: str) -> str:
    """One word: the rest of ``NAME=VALUE`` is the value, but of a shell's line only up to the next blank."""
    name, equals, _ = word.partition("=")
    if equals and re.fullmatch(rf"(?:-e|--env=|--)?(?:[A-Za-z0-9]+[-_])*{_NAME}", name, re.IGNORECASE):
        return f"{name}={HIDDEN}"
    return _WITHIN.sub(lambda match: match[1] + HIDDEN, word)
