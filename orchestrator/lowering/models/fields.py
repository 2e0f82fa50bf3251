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

DTYPE_FIELDS = ("torch_dtype", "dtype")

#: lengths that configs state, by vLLM's names for them
LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
UNSTATED = 2048
#: kinds of rotary embedding whose factor is in the stated length
SCALED = ("su", "longrope", "llama3")
MOST_FACTOR = 10_000
MOST_LAYERS = 10_000  # of a model: a slip of the hand must not fill the memory


class Fields:
    """The fields of one model's decoder; ``whole`` is the file, ``where`` its name.

    A decoder inside a model with other encoders has its fields below ``text_config``; what is not there is
    looked for at the top. ``defaults`` stand in for what a family leaves out of its files; ``instead`` are the
    fields of families that call them otherwise, or mean something else by them.
    """

    def __init__(self, where: str, whole: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> None:
        self.where, self.whole, self.defaults = where, whole, dict(defaults or {})
        inner = next((whole[name] for name in TEXT if isinstance(whole.get(name), dict)), None)
        self.text: Mapping[str, Any] = whole if inner is None else inner
        self.inner = inner is not None
        self.instead: dict[str, Any] = {}
        self.warnings: list[str] = []

    def get(self, *names: str, default: Any = None) -> Any:
        """The first of these fields that is there and not null."""
        for source in (self.instead, self.text, self.whole, self.defaults):
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
        if names[0] == "num_hidden_layers" and value > MOST_LAYERS:
            raise InputError(self.where, names[0], value, f"must be at most {MOST_LAYERS}")
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
        """The longest sequence, as vLLM 0.19 finds it (``derive_max_model_len_and_key``, ``_get_and_verify_max_len``):
        the least of the lengths there are, but ``model_max_length`` where there is one; times the factor of the rotary
        embedding, for YaRN from the original length. Gemma 3 and the kinds in `SCALED` state the scaled length already.
        Raises InputError for a factor that is no number above 0."""
        found = [self.number(name) for name in LENGTHS if self.get(name) is not None]
        longest = self.number("model_max_length", default=min(found, default=0))
        if not longest:
            self.warn(f"no length is stated: {UNSTATED} tokens are taken, as vLLM does")
            longest = UNSTATED
        if "gemma3" in str(self.whole.get("model_type")):
            return longest
        factor: float = 1
        for rope in self._rotary():
            if rope.get("rope_type", rope.get("type")) in SCALED or rope.get("factor") is None:
                continue
            factor = rope["factor"]
            if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 < factor <= MOST_FACTOR:
                raise self.refuse("rope_scaling.factor", factor, f"must be a number above 0 and up to {MOST_FACTOR}")
            if rope.get("rope_type", rope.get("type")) == "yarn":
                longest = _whole(self, rope, "original_max_position_embeddings", longest)
        return int(longest * factor)

    def usual(self) -> int:
        """Tokens that vLLM 0.19 serves where it is not told, if fewer: LongRoPE's original length; else 0."""
        if all(rope.get("rope_type", rope.get("type")) != "longrope" for rope in self._rotary()):
            return 0
        return self.number("original_max_position_embeddings", default=0)

    def _rotary(self) -> list[Mapping[str, Any]]:
        """Parameters of the rotary embedding: one for all layers, or one a kind of layer."""
        given = self.get("rope_scaling", "rope_parameters")
        if given is None:
            return []
        if not isinstance(given, Mapping):
            raise self.refuse("rope_scaling", given, "must be a mapping")
        kinds = [one for one in given.values() if isinstance(one, Mapping)]
        return kinds or [given]

    def dtype_said(self) -> tuple[str, str]:
        """The field that says the type of the weights, and that type; two ``""`` where none does."""
        value = self.get(*DTYPE_FIELDS)
        if value is None:
            return "", ""
        return next(name for name in DTYPE_FIELDS if self.get(name) == value), self.dtype()

    def dtype(self) -> str:
        """The type of the weights, and of all computation where nothing is quantised."""
        value = self.get(*DTYPE_FIELDS, default="bfloat16")
        name = value.removeprefix("torch.") if isinstance(value, str) else None  # as old files have it
        if name not in DTYPES:
            raise self.refuse("torch_dtype", value, f"one of {', '.join(DTYPES)}")
        return DTYPES[name]


def _whole(at: Fields, of: Mapping[str, Any], name: str, default: int) -> int:
    """A positive integer of a part of the file."""
    value = of.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise at.refuse(f"rope_scaling.{name}", value, "must be a positive integer")
    return value
