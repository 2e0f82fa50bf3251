"""Reading a Hugging Face ``config.json``, with errors that name the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import InputError

#: where models with several encoders keep their decoder's fields
TEXT = ("text_config", "language_config", "llm_config")
DTYPES = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "float32": "fp32",
    "half": "fp16",
    "float": "fp32",
    "bf16": "bf16",
    "fp16": "fp16",
    "fp32": "fp32",
    "fp8": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
}


class Fields:
    """The fields of one model's decoder; ``whole`` is the file, ``where`` its name.

    A decoder inside a model with other encoders has its fields below ``text_config``; what is not there is
    looked for at the top. ``defaults`` stand in for what a family leaves out of its files.
    """

    def __init__(self, where: str, whole: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> None:
        self.where, self.whole, self.defaults = where, whole, dict(defaults or {})
        inner = next((whole[name] for name in TEXT if isinstance(whole.get(name), dict)), None)
        self.text: Mapping[str, Any] = whole if inner is None else inner
        self.inner = inner is not None
        self.warnings: list[str] = []

    def get(self, *names: str, default: Any = None) -> Any:
        """The first of these fields that is there and not null."""
        for source in (self.text, self.whole, self.defaults):
            for name in names:
                if source.get(name) is not None:
                    return source[name]
        return default

    def number(self, *names: str, default: int | None = None, least: int = 1) -> int:
        """A whole number of at least ``least``; InputError where it is none, or is missing without a default."""
        value = self.get(*names)
        if value is None:
            if default is None:
                raise InputError(self.where, names[0], None, "is missing")
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            name = next(name for name in names if self.get(name) is not None)
            kind = "a positive integer" if least == 1 else "an integer of at least 0"
            raise InputError(self.where, name, value, f"must be {kind}")
        return value

    def flag(self, *names: str, default: bool = False) -> bool:
        value = self.get(*names, default=default)
        if not isinstance(value, bool | int):
            raise InputError(self.where, names[0], value, "must be true or false")
        return bool(value)

    def each(self, name: str, layers: int) -> Sequence[Any] | None:
        """A list with one entry a layer (longer ones, with layers of a draft model, are cut); None if absent."""
        value = self.get(name)
        if not isinstance(value, list | str):
            return None
        if len(value) < layers:
            raise self.refuse(name, value, f"needs one entry for each of {layers} layers, it has {len(value)}")
        return value[:layers]

    def numbers(self, name: str) -> dict[int, int]:
        """A list of numbers as {index: value}; empty if absent."""
        value = self.get(name) or []
        return dict(enumerate(value)) if isinstance(value, list) else {}

    def refuse(self, field: str, value: object, allowed: str) -> InputError:
        return InputError(self.where, field, value, allowed)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def positions(self) -> int:
        """The longest sequence, scaled as vLLM scales it (``_get_and_verify_max_len``): by the factor of
        ``rope_scaling``, from the original length for YaRN; other kinds state the scaled length already."""
        longest = self.number("max_position_embeddings", "model_max_length", "seq_length", "max_seq_len")
        scaling = self.get("rope_scaling", "rope_parameters")
        kind = scaling.get("rope_type", scaling.get("type")) if isinstance(scaling, Mapping) else None
        factor = scaling.get("factor") if kind in ("linear", "dynamic", "yarn", "ntk") else None
        if not isinstance(factor, int | float):
            return longest
        return (
            int(scaling.get("original_max_position_embeddings", longest) * factor)
            if kind == "yarn"
            else int(longest * factor)
        )

    def dtype(self) -> str:
        """The type of the weights, and of all computation where nothing is quantised."""
        value = self.get("torch_dtype", "dtype", default="bfloat16")
        if value not in DTYPES:
            raise self.refuse("torch_dtype", value, f"one of {', '.join(DTYPES)}")
        return DTYPES[value]
