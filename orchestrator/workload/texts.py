"""How many tokens a text has: by its tokenizer, or by a rule that is said."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import cache
from typing import Any

from pydantic import Field

from ..errors import InputError
from .options import TraceOptions
from .registry import Reading


class TextOptions(TraceOptions):
    """Options of formats that hold texts, not lengths."""

    tokenizer: str | None = Field(
        default=None, description="a tokenizer.json of Hugging Face (extra tokenizers); relative to the scenario"
    )
    characters_per_token: float = Field(default=4.0, gt=0, description="the length rule where there is no tokenizer")


Encode = Callable[[str], tuple[int, "array[int] | None"]]


def encoder(options: TextOptions, reading: Reading) -> Encode:
    """What gives a text's number of tokens, and their ids where a tokenizer knows them. Raises InputError."""
    if options.tokenizer is None:
        rule = options.characters_per_token
        reading.note(f"{options.path}: no tokenizer, so lengths are characters / {rule:g}; no prefix is shared")
        return lambda text: (max(1, round(len(text) / rule)) if text else 0, None)
    path = reading.path(options.tokenizer)
    tokenizer = _load(str(path))

    def encode(text: str) -> tuple[int, array[int] | None]:
        ids = array("q", tokenizer.encode(text, add_special_tokens=False).ids)
        return len(ids), ids

    return encode


@cache
def _load(path: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise InputError(path, "workload.tokenizer", None, "needs pip install 'metronome-cosim[tokenizers]'") from None
    try:
        return Tokenizer.from_file(path)
    except Exception as error:  # the library raises a bare Exception
        raise InputError(path, "workload.tokenizer", None, f"cannot be read: {error}") from None
