"""``roofline``: the longer of arithmetic and memory traffic, plus a launch overhead.

Williams, Waterman, Patterson, "Roofline: an insightful visual performance model", CACM 2009, with
each ceiling scaled by the share of it that large kernels reach (catalog, with its derivation). On a GPU whose insides
the catalog has, each family of kernels (matrix products, attention of prompts and of decodes, experts, small ones) has
its own: tiles over multiprocessors, start, bandwidth (`kernels/`). A memory that is a component of its own says how
much longer than the device's it takes for an operation's bytes; kernels are as with a memory that much slower.
With a cap on its power each kernel is done at the highest clock at which it draws no more (`draw`): arithmetic slows
down, memory does not. Whose bytes alone draw more pauses: as long as the cap's power takes to be its energy. A board
holds the mean of some tenths of a second; here each kernel is held for itself.
FLOPs and bytes of each kind are counted in `counting`. Weights may be stored in fewer bits than activations:
their bytes then follow the format, and the FLOP/s are those of the type the products are computed in. A
device without units for fp8 or fp4 computes such products in the activations' type, as vLLM's Marlin kernels do.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import Field

from ..base import ALTERATIONS, Config, Estimate, Estimates, OracleModel
from ..catalog import Device, DeviceFacts, device, kernels
from ..interface import (
    DTYPE_BYTES,
    OPERATION_VALUES,
    PS_PER_NS,
    PS_PER_S,
    ConfigError,
    Description,
    Feature,
    Moved,
    Operation,
    Pattern,
    Provenance,
    Template,
    TimePolicy,
    Traffic,
    UnsupportedOperation,
    Use,
    check_operation,
)
from .counting import DecodeLine, converted, work, written
from .draw import CLOCKS, Draw
from .families import ByFamily, DecodeSeconds
from .kernels.processor import Processor

#: Who states one of these has all kernels alike, whatever is known of the device's.
ALIKE = ("compute_efficiency", "memory_efficiency", "launch_overhead_ns")
#: Formats whose weights engines can unpack to the activations' type where a device has no such units.
UNPACKED = frozenset({"fp8", "fp4"})
#: Of devices without insides in the catalog, of which there is no measurement: a guess, to one digit.
RELATIVE_ERROR = 0.3
#: Of products whose weights are not of the activations' type, by the plain roofline over measured GEMMs
#: (aiconfigurator-core 0.12.0, Apache-2.0): fp8 by tensor, 142,944 on H100, RTX PRO 6000, B200 and L40S, 19 to 35 %;
#: fp4, 71,484 on RTX PRO 6000 and B200, 25 and 34 %. int4 is taken as fp4. By family they were not compared.
QUANTISED_ERROR = 0.3
#: fp8 with a scale a block: 35,704 on H100, nearly all of them slower than this (median 78 %): small and middle
#: ones take 59 to 90 us there whatever their size; the largest agree.
BLOCK_ERROR = 0.64
#: Numbers of an attention without prompts.
ONLY_DECODES = len(OPERATION_VALUES["attention"])

PLAIN = "of all kernels alike: with it, none is by family"


class RooflineConfig(Config):
    """A catalog device or one's own, with any figure of it replaced."""

    device: str | DeviceFacts = Field(description="name in the device catalog, e.g. h100-sxm, or a device's facts")
    device_name: str = Field(default="own", description="what a device of one's own is called in messages")
    compute_efficiency: float | None = Field(default=None, gt=0, le=1, description=PLAIN)
    memory_efficiency: float | None = Field(default=None, gt=0, le=1, description=PLAIN)
    launch_overhead_ns: float | None = Field(default=None, ge=0, description=PLAIN)
    power_cap_w: float | None = Field(default=None, gt=0, description="no kernel draws more; default: no cap")


class DecodesAlone(NamedTuple):
    """Attention of decodes at the full clock: their number and the tokens they see say all of it."""

    decodes: DecodeSeconds
    line: DecodeLine
    draw: Draw
    starts_ps: float
    width: float  # bytes of an operand of the products

    def __call__(self, decodes: int, context: int) -> Estimate:
        duration = max(1, round(self.decodes(decodes, context + decodes) * PS_PER_S))
        flops, size = self.line.work(decodes, context)
        energy = self.draw.full_pj(max(0.0, duration - self.starts_ps), flops, size, self.width)
        return Estimate(duration, Provenance.MODELLED, energy)

    def progression(self, decodes: int, contexts: range) -> Estimates:
        """The same at each of these sums of contexts."""
        keys = range(contexts.start + decodes, contexts.stop + decodes, contexts.step)
        durations = [max(1, round(each * PS_PER_S)) for each in self.decodes.progression(decodes, keys)]
        work = [self.line.work(decodes, context) for context in contexts]
        energies = self.draw.full_pj_each([each - self.starts_ps for each in durations], work, self.width)
        return Estimates(durations, [Provenance.MODELLED] * len(durations), energies)


class Slower(NamedTuple):
    """How many times longer memory takes than the device's own: for an operation's bytes, and to convert its inputs."""

    working: float = 1.0
    converting: float = 1.0


OWN = Slower()


class Roofline(OracleModel[RooflineConfig]):
    """One device of the catalog, by its datasheet."""

    heeds = frozenset(ALTERATIONS)

    description = Description(
        name="roofline",
        kind="accelerator",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"gemm", "attention", "moe", "state", "norm", "elementwise", "embedding", "sampler"}),
        features=frozenset({Feature.TRAFFIC, Feature.TYPICAL}),
        summary="datasheet peaks, memory bandwidth and launch overhead of a catalog device",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        which = self.config.device
        try:
            self._device = device(which) if isinstance(which, str) else which.device(self.config.device_name)
        except KeyError as error:
            raise ConfigError("device", which, error.args[0]) from None
        self._compute = self.config.compute_efficiency or self._device.compute_efficiency
        bandwidth = self._device.memory_bandwidth
        self._bytes_per_s = bandwidth * (self.config.memory_efficiency or self._device.memory_efficiency)
        overhead = self.config.launch_overhead_ns
        self._overhead_ps = (self._device.launch_overhead_ns if overhead is None else overhead) * PS_PER_NS
        self._draw = Draw.of(self._device)
        self._at: dict[float, ByFamily | None] = {}  # clock -> kernels by family
        self._decodes: dict[int, DecodeLine] = {}  # by template
        self._alone: dict[int, DecodesAlone] = {}  # by template
        self._paces: dict[int, Slower] = {}  # of another memory, at the most bytes; by template
        cap, awake = self.config.power_cap_w, self._device.standby_w
        if cap is not None and cap <= awake:
            raise ConfigError("power_cap_w", cap, f"must be above what it draws with nothing to do, {awake:g}")

    def check_template(self, template: Template) -> None:
        dtype = self._computes_in(template)
        if dtype not in self._device.flops:
            can = ", ".join(self._device.flops)
            raise UnsupportedOperation("roofline", template, f"{self._device.name} has no {dtype} rate (tflops: {can})")

    def _computes_in(self, template: Template) -> str:
        """The type whose FLOP/s count."""
        dtype = str(template.attributes["dtype"])
        compute = str(template.attributes.get("compute", dtype))
        return dtype if compute in UNPACKED and compute not in self._device.flops else compute

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        """The error of each family's kernels, by the time they took; and whose measurements its figures are."""
        total = off = 0.0
        for number, values, times in uses:
            spent = times * self._estimate(self.templates[number], values, self._paces.get(number, OWN)).duration_ps
            total += spent
            off += spent * self._error(self.templates[number], values)
        found: dict[str, Any] = self._capped(uses) | {
            "relative_error": {"modelled": off / total if total else RELATIVE_ERROR}
        }
        stated = [name for name in ALIKE if getattr(self.config, name) is not None]
        if families := self._families(1):
            of = families.kernels.measured_on
            guessed = "" if self._device.name in of and not self._paces else "guessed: "
            found["kernels"] = f"{guessed}as measured on {', '.join(of)}"
        elif stated and self._device.chip is not None:
            found["kernels"] = f"plain shares of the peak, since {', '.join(stated)} is stated"
        return found

    def _error(self, template: Template, values: tuple[int, ...]) -> float:
        at = template.attributes
        if "weight_dtype" in at:
            return BLOCK_ERROR if "weight_block" in at else QUANTISED_ERROR
        families = self._families(1)
        if not families:
            return RELATIVE_ERROR
        device = "" if self._paces else self._device.name  # with another memory it is none of those measured
        return families.error(template, values, self._computes_in(template), device)

    def _capped(self, uses: Sequence[Use]) -> dict[str, Any]:
        """The mean clock of its kernels, by their number; nothing without a cap."""
        if self.config.power_cap_w is None or not uses:
            return {}
        clocks = [
            times * self._clock(self.templates[number], values, self._paces.get(number, OWN))
            for number, values, times in uses
        ]
        return {"mean_clock": sum(clocks) / sum(use.times for use in uses)}

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        if len(values) == ONLY_DECODES and values[0] and (alone := self._decodes_alone(template)):
            return alone(values[0], values[1])
        return self._estimate(template, values, OWN)

    def progression(self, operation: Operation, more: Sequence[int], count: int) -> Estimates | None:
        template, values = check_operation(operation, self.templates), operation.values
        grows = len(values) == ONLY_DECODES and values[0] and not more[0] and more[1]
        if grows and (alone := self._decodes_alone(template)):
            return alone.progression(values[0], range(values[1], values[1] + count * more[1], more[1]))
        return super().progression(operation, more, count)

    def _decodes_alone(self, template: Template) -> DecodesAlone | None:
        """What most questions are about has a short way; None of kernels that are all alike, or held to a cap."""
        if found := self._alone.get(template.id):
            return found
        families = self._families(1)
        if families is None or template.kind != "attention" or self.config.power_cap_w is not None:
            return None
        dtype, line = self._computes_in(template), self._line(template)
        starts_ps = self._starts_ps(template, (1, 0, 0, 0), 1)
        found = DecodesAlone(families.decodes_of(template, dtype), line, self._draw, starts_ps, DTYPE_BYTES[dtype])
        self._alone[template.id] = found
        return found

    def _estimate(self, template: Template, values: tuple[int, ...], slower: Slower) -> Estimate:
        done = self._at_clock(template, values, self._clock(template, values, slower), slower)
        if self._keeps(done):
            return done
        return done._replace(duration_ps=math.ceil((done.energy_pj or 0) / self._dynamic_w))  # it pauses

    def _clock(self, template: Template, values: tuple[int, ...], slower: Slower = OWN) -> float:
        """The highest at which an operation keeps to the cap; the lowest there is if none does."""
        if self.config.power_cap_w is None:
            return 1.0

        def keeps(clock: float) -> bool:
            return self._keeps(self._at_clock(template, values, clock, slower))

        return CLOCKS[min(bisect_left(CLOCKS, True, key=keeps), len(CLOCKS) - 1)]

    @property
    def _dynamic_w(self) -> float:
        """What the cap leaves above what it draws awake."""
        return math.inf if self.config.power_cap_w is None else self.config.power_cap_w - self._device.standby_w

    def _keeps(self, done: Estimate) -> bool:
        return (done.energy_pj or 0) <= self._dynamic_w * done.duration_ps

    def _at_clock(self, template: Template, values: tuple[int, ...], clock: float, slower: Slower) -> Estimate:
        duration = max(1, round(self._duration_ps(template, values, clock, slower)))
        flops, size = self._work(template, values)
        busy_ps = max(0.0, duration - self._starts_ps(template, values, clock))
        energy = self._draw.pj(busy_ps, flops, size, self._computes_in(template), clock)
        return Estimate(duration, Provenance.MODELLED, energy)

    def _work(self, template: Template, values: tuple[int, ...]) -> tuple[float, float]:
        """(FLOPs, bytes) of one operation; those of attention of decodes follow their number and contexts."""
        if template.kind != "attention" or any(values[4:]):
            flops, size = work(template, values)
            return flops, size + converted(template, values)
        return self._line(template).work(*values[:2])

    def _line(self, template: Template) -> DecodeLine:
        if template.id not in self._decodes:
            self._decodes[template.id] = DecodeLine.of(template)
        return self._decodes[template.id]

    def _families(self, clock: float, slower: float = 1.0) -> ByFamily | None:
        """Kernels by family at a share of the full clock, with a memory so much slower; None where all are alike."""
        if clock not in self._at:
            self._at[clock] = _families(self._device, self.config, clock)
        found = self._at[clock]
        if found is None or slower == 1.0:
            return found
        return ByFamily(replace(found.on, bandwidth=found.on.bandwidth / slower), found.kernels)

    def _starts_ps(self, template: Template, values: tuple[int, ...], clock: float) -> float:
        """Of its duration, what passes before and after anything is computed."""
        if families := self._families(clock):
            return families.start_s(template, values) * PS_PER_S
        return self._launches_ps(template)

    def _duration_ps(self, template: Template, values: tuple[int, ...], clock: float, slower: Slower) -> float:
        converting_ps = converted(template, values) / self._bytes_per_s * PS_PER_S * slower.converting
        if families := self._families(clock, slower.working):
            if "compute" in template.attributes:
                converting_ps += self._overhead_ps
            return families.seconds(template, values, self._computes_in(template)) * PS_PER_S + converting_ps
        flops, size = work(template, values)
        peak = self._device.flops[self._computes_in(template)] * self._compute * clock
        busy_ps = max(flops / peak, size / self._bytes_per_s * slower.working) * PS_PER_S
        return busy_ps + converting_ps + self._launches_ps(template)

    def _launches_ps(self, template: Template) -> float:
        launches = int(template.attributes.get("routing_kernels", 1))  # the others take next to no time
        launches += "compute" in template.attributes  # one converts the inputs
        return launches * self._overhead_ps

    def traffic(self, operation: Operation) -> Traffic:
        """Its bytes; what it does beside them `beside` knows."""
        template, values = check_operation(operation, self.templates), operation.values
        _, size = work(template, values)
        out = round(written(template, values))
        pattern = Pattern.RANDOM if template.kind == "embedding" else Pattern.STREAM
        parts = [Moved(round(size) - out, out, 0.0, pattern)]
        if extra := round(converted(template, values)):  # read twice, and written as `compute`
            parts.append(Moved(extra, 0, 0.0))
        return Traffic(tuple(parts), 0.0, Provenance.MODELLED)

    def beside(self, operation: Operation, traffic: Traffic, memory_ps: Sequence[int]) -> Estimate:
        """The same with a memory that takes so long for each part of `traffic`: a device of another bandwidth, which is
        what the memory reaches of these bytes, in the share that this device reaches of its own."""
        slower = Slower(*map(self._slower, traffic.parts, memory_ps))
        if slower != OWN:
            self._paces[operation.template] = min(slower, self._paces.get(operation.template, slower))
        return self._estimate(self.templates[operation.template], operation.values, slower)

    def _slower(self, part: Moved, memory_ps: int) -> float:
        """So many times what the device's own memory takes."""
        own_ps = (part.read_bytes + part.write_bytes) / self._bytes_per_s * PS_PER_S
        return 1.0 if memory_ps == max(1, round(own_ps)) or not own_ps else max(1, memory_ps) / own_ps


def _families(of: Device, config: RooflineConfig, clock: float) -> ByFamily | None:
    """Kernels by family, unless the catalog does not have the device's insides, or the user states plain shares."""
    if of.chip is None or any(getattr(config, name) is not None for name in ALIKE):
        return None
    flops = {dtype: rate * clock for dtype, rate in of.flops.items()}
    chip = of.chip.model_copy(update={"clock_ghz": of.chip.clock_ghz * clock})
    return ByFamily(Processor.of(chip, flops, of.memory_bandwidth), kernels(chip.generation))
