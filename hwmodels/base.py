"""What reference models share: configuration by pydantic, template checks, and the oracle's verb."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar, Generic, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from .interface import (
    OPERATION_ATTRIBUTES,
    Advanced,
    Completion,
    ConfigError,
    Description,
    LateOperation,
    Operation,
    Template,
    UnsupportedOperation,
    Use,
    check_operation,
    in_order,
    in_progression,
)
from .interface import Estimate as Estimate
from .interface import Estimates as Estimates

#: Attributes that change what an operation does or moves; a model that does not heed one refuses the template.
#:
#: A gemm or moe whose weights are not of its ``dtype`` has ``weight_dtype``, ``weight_bits`` (of one weight, its scales
#: included), ``weight_block`` (rows that share a scale, if more than one and fewer than all), and ``compute``, the type
#: of the products if it is not ``dtype``. ``gated`` = False: experts without a gate.
#:
#: Attention: ``sees`` = tokens a query sees at most, itself included (decodes' contexts are bounded already, prompts
#: are not); ``chunk`` = they are those of its own chunk; ``top_k_tokens`` = they are chosen among all; ``compress`` =
#: so many tokens before the ``sees`` last ones are one key (``top_k_tokens`` of these are attended to);
#: ``v_head_size``, if values are of another size than keys; ``shared_kv`` = values are the first part of the keys, kept
#: once; ``prompt_head_size`` and ``prompt_v_head_size``: prompts are computed with a key and value of these sizes for
#: each head, as latent attention does.
#:
#: A sampler: ``sorts`` = True: tokens are chosen by top-p, for which the vocabulary is sorted; ``seeks_from`` = of how
#: many sequences on it is not, but where to cut is sought.
ALTERATIONS: Mapping[str, str] = {
    "weight_dtype": "weights of another type than the activations",
    "sees": "queries that see a part of their context",
    "top_k_tokens": "queries that choose what they attend to",
    "compress": "contexts of which one vector is kept for several tokens",
    "v_head_size": "values of another size than keys",
    "shared_kv": "values that are part of the keys",
    "prompt_head_size": "prompts computed with other heads than decodes",
    "gated": "experts without a gate",
    "sorts": "tokens chosen by top-p, which sorts the vocabulary",
    "seeks_from": "tokens chosen by top-p, which seeks where to cut",
}


class Config(BaseModel):
    """Base of every model's configuration: unknown keys refused, NaN and infinity too.

    ``server_side`` names the fields that say what runs on the component's host, or what is read or written there.
    A client of a component server cannot set them (`metronome.component.v1.server_side`); fields of type Path count
    as named.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    server_side: ClassVar[frozenset[str]] = frozenset()


C = TypeVar("C", bound=Config)


def _of_another_form(error: Mapping[str, Any]) -> bool:
    """Of what may be a name or figures: that figures are no name."""
    return error["type"] == "string_type" and isinstance(error["input"], Mapping)


class Model(Generic[C]):
    """A configured component: ``Model(config, seed)``; subclasses name their Config as parameter.

    ``heeds``: the `ALTERATIONS` it takes into account; templates with others are refused.
    """

    description: ClassVar[Description]
    heeds: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, config: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        try:
            self.config: C = self._config_type().model_validate(dict(config or {}))
        except ValidationError as error:
            found = [one for one in error.errors() if not _of_another_form(one)] or error.errors()
            first = next((one for one in found if one["type"] != "missing"), found[0])
            path = ".".join(part for part in map(str, first["loc"]) if not part[:1].isupper()) or "config"
            allowed = first["msg"].removeprefix("Value error, ")
            if first["type"] == "missing":
                raise ConfigError(path, None, "is needed, and not given") from None
            if first["type"] == "extra_forbidden":
                known = list(self._config_type().model_fields)
                near = get_close_matches(path, known, 1)
                allowed = f"unknown key; {f'did you mean {near[0]!r}? ' if near else ''}known: {', '.join(known)}"
            raise ConfigError(path, first.get("input"), allowed) from None
        self.seed = seed
        self.templates: dict[int, Template] = {}

    @classmethod
    def _config_type(cls) -> type[C]:
        for base in getattr(cls, "__orig_bases__", ()):
            arguments = get_args(base)
            if arguments and isinstance(arguments[0], type):
                found: type[C] = arguments[0]
                return found
        raise TypeError(f"{cls.__name__} does not name its Config")

    @classmethod
    def config_schema(cls) -> dict[str, Any]:
        return cls._config_type().model_json_schema()

    @classmethod
    def server_side(cls) -> frozenset[str]:
        """The fields that its Config, or a base of that, declares as the server's own."""
        return frozenset().union(*(vars(base).get("server_side", ()) for base in cls._config_type().__mro__))

    def declare(self, templates: Sequence[Template]) -> None:
        for template in templates:
            if template.kind not in self.description.op_kinds:
                can = ", ".join(sorted(self.description.op_kinds))
                raise UnsupportedOperation(self.description.name, template, f"it does {can}")
            for name in OPERATION_ATTRIBUTES[template.kind]:
                if name not in template.attributes:
                    raise UnsupportedOperation(self.description.name, template, f"the template lacks '{name}'")
            for name, meaning in ALTERATIONS.items():
                if name in template.attributes and name not in self.heeds:
                    raise UnsupportedOperation(self.description.name, template, f"it has no figures for {meaning}")
            self.check_template(template)
            self.templates[template.id] = template

    def check_template(self, template: Template) -> None:
        """Refuse a shape this model has no figures for; the default takes everything."""

    def in_turn(self, operations: Sequence[Operation], now_ps: int) -> list[Operation]:
        """What a model with a clock is given at ``now_ps``, in order. Raises BadOperation, LateOperation."""
        found = sorted(operations, key=in_order)
        for operation in found:
            check_operation(operation, self.templates)
            if operation.at_ps < now_ps:
                raise LateOperation(operation, now_ps)
        return found

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        return {}


class OracleModel(Model[C]):
    """A model without a clock: each operation's cost is a pure function of its numbers."""

    @abstractmethod
    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        """The cost of one operation alone."""

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        done = []
        for operation in operations:
            template = check_operation(operation, self.templates)
            duration_ps, provenance, energy_pj = self.estimate(template, operation.values)
            start_ps = operation.at_ps
            done.append(Completion(operation.op_id, start_ps, start_ps + duration_ps, provenance, energy_pj))
        return Advanced(grant_ps, tuple(done))

    def progression(self, operation: Operation, more: Sequence[int], count: int) -> Estimates | None:
        """As `Progressions.progression`: without a completion for each. None where some energies are known only."""
        template = check_operation(operation, self.templates)
        each = [self.estimate(template, values) for values in in_progression(operation.values, more, count)]
        durations, provenances, energies = zip(*each, strict=True)
        if None not in energies:
            return Estimates(durations, provenances, energies)
        return None if any(energies) else Estimates(durations, provenances)
