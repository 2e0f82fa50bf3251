"""Who may import whom: a rule for every room. docs/architecture.md shows the same as a picture.

A room is a package. `orchestrator` itself holds modules that stand alone, so each of these has a rule of its own. A rule
names rooms and modules; naming a room opens all its modules, but not the rooms within it. Names are without `metronome.`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .imports import Source, imports, room

#: All of serving that whoever looks on, reports, debugs or validates may know.
SERVING = tuple(
    f"orchestrator.serving.{name}" for name in ("interface", "offloading", "request_state", "replica", "batch", "hooks")
)
#: What an engine is made of: nothing but its own rooms may import it. `serving/engines.py` finds it by name.
ENGINE = (
    *(
        f"orchestrator.serving.{name}"
        for name in ("interface", "offloading", "request_state", "batch", "options", "spec")
    ),
    "orchestrator.serving.kv",
    "orchestrator.workload.request",
    "orchestrator.workload.tokens",
)
SEAM = ("hwmodels.interface", "hwmodels.catalog")
MODEL = ("hwmodels", "hwmodels.catalog")
ADAPTER = ("hwmodels", "adapters.tools")
#: May be imported from everywhere in `orchestrator`: they know nobody themselves.
LEAVES = (
    "orchestrator.errors",
    "orchestrator.plugins",
    "orchestrator.rows",
    "orchestrator.strict",
    "orchestrator.sums",
    "orchestrator.units",
)

RULES: dict[str, tuple[str, ...]] = {
    # hardware: nothing of the project
    "hwmodels": (),
    "hwmodels.catalog": ("hwmodels",),
    "hwmodels.accelerator": (*MODEL, "hwmodels.accelerator.kernels"),
    "hwmodels.accelerator.kernels": ("hwmodels.catalog",),
    "hwmodels.accelerator.profiled": (*MODEL, "hwmodels.accelerator.choosing"),
    "hwmodels.memory": MODEL,
    "hwmodels.network": MODEL,
    "hwmodels.network.fabric": (*MODEL, "hwmodels.network"),
    "hwmodels.pim": MODEL,
    "hwmodels.wiring": ("hwmodels",),
    # the wire
    "metronome": (  # the front door, and `python -m metronome`
        "orchestrator.api",
        "orchestrator.cli.main",
        "orchestrator.debug.counterfactual",
        "orchestrator.debug.why",
        "orchestrator.errors",
        "orchestrator.instruments",
        "orchestrator.report.result",
        "orchestrator.scenario.schema",
    ),
    "component": (),
    "component.v1": ("hwmodels.interface", "hwmodels.ports"),
    # adapters: hardware and wire, never the orchestrator
    "adapters": (),
    "adapters.host": ("hwmodels.interface", "hwmodels.process", "component.v1"),
    "adapters.conformance": (
        "hwmodels",
        "hwmodels.wiring",
        "hwmodels.interface",
        "hwmodels.memory",
        "hwmodels.network",
        "component.v1",
    ),
    "adapters.kit": (),
    "adapters.tools": ("hwmodels.interface",),
    "adapters.aiconfigurator": (*ADAPTER, "hwmodels.accelerator"),
    "adapters.chaos": MODEL,
    "adapters.command": ADAPTER,
    "adapters.composite": ("hwmodels",),
    "adapters.fmi": (*ADAPTER, "hwmodels.memory", "hwmodels.network"),
    "adapters.island": ("hwmodels", "hwmodels.wiring", "adapters.composite"),
    "adapters.ns3": (*ADAPTER, "hwmodels.network", "hwmodels.network.fabric"),
    "adapters.profiler": ("hwmodels", "hwmodels.network"),
    "adapters.scalesim": (*ADAPTER, "hwmodels.accelerator"),
    "adapters.systemc": ADAPTER,
    "adapters.user_built": (*ADAPTER, "hwmodels.catalog", "hwmodels.memory"),
    "adapters.verilator": (*ADAPTER, "hwmodels.accelerator"),
    "adapters.examples.fmi": (),
    "adapters.examples.tools": (),
    "adapters.vllm": ADAPTER,
    # what knows nobody
    "orchestrator": ("metronome",),
    "orchestrator.errors": (),
    "orchestrator.plugins": (),
    "orchestrator.rows": (),
    "orchestrator.strict": (),
    "orchestrator.sums": (),
    "orchestrator.units": (),
    "orchestrator.kernel": LEAVES,
    "orchestrator.workload": (*LEAVES, "orchestrator.workload.formats"),
    "orchestrator.workload.formats": (*LEAVES, "orchestrator.workload"),
    # serving: no transport, no component
    "orchestrator.serving": (
        *LEAVES,
        "orchestrator.kernel",
        "orchestrator.workload",
        "orchestrator.serving.host_costs",
        "orchestrator.serving.kv",
    ),
    "orchestrator.serving.host_costs": (
        "orchestrator.serving.api_server",
        "orchestrator.serving.batch",
        "orchestrator.serving.kv.profile_run",
        *LEAVES,
    ),
    "orchestrator.serving.kv": (*LEAVES, *SERVING, "orchestrator.workload"),
    "orchestrator.serving.tiers": (
        *LEAVES,
        *SERVING,
        "orchestrator.serving.own",
        "orchestrator.serving.kv",
        "orchestrator.workload",
    ),
    "orchestrator.serving.vllm": (*LEAVES, *ENGINE),
    "orchestrator.serving.vllm_real": (
        *LEAVES,
        *ENGINE,
        "orchestrator.serving.vllm",
        "adapters.vllm",
        "adapters.tools.environment",
    ),
    "orchestrator.serving.sglang": (*LEAVES, *ENGINE),
    "orchestrator.serving.fleet": (*LEAVES, "orchestrator.kernel", "orchestrator.serving", "orchestrator.workload"),
    # from a scenario to operations, and to those who do them
    "orchestrator.scenario": (
        *LEAVES,
        "hwmodels.catalog",
        "orchestrator.serving.engines",
        "orchestrator.serving.fleet.options",
        "orchestrator.serving.options",
        "orchestrator.serving.tiers.options",
        "orchestrator.workload",
    ),
    "orchestrator.lowering": (*LEAVES, *SEAM, "orchestrator.serving.batch", "orchestrator.lowering.models"),
    "orchestrator.lowering.models": (*LEAVES, *SEAM, "orchestrator.lowering"),
    "orchestrator.coupling": (
        *LEAVES,
        *SEAM,
        "adapters.chaos",
        "hwmodels",
        "component.v1",
        "orchestrator.kernel",
        "orchestrator.lowering",
        "orchestrator.scenario",
        "orchestrator.serving.batch",
        "orchestrator.coupling.launch.endpoint",
    ),
    "orchestrator.coupling.recovery": (
        *LEAVES,
        "hwmodels.interface",
        "hwmodels.ports",
        "orchestrator.coupling",
        "orchestrator.coupling.launch.endpoint",
    ),
    "orchestrator.coupling.launch": (
        *LEAVES,
        "adapters.tools.keeper",  # nothing outlives who started it
        "component.v1",
        "hwmodels.process",
        "orchestrator.coupling",
        "orchestrator.coupling.recovery",
        "orchestrator.scenario",
    ),
    "orchestrator.coupling.surrogate": (
        *LEAVES,
        "hwmodels.interface",
        "orchestrator.coupling",
        "orchestrator.scenario",
    ),
    "orchestrator.coupling.wired": (
        *LEAVES,
        "hwmodels",
        "hwmodels.wiring",
        "orchestrator.coupling",
    ),
    "orchestrator.power": (*LEAVES, "hwmodels.catalog", "orchestrator.coupling.spent", "orchestrator.scenario"),
    "orchestrator.deployment": (
        *LEAVES,
        "component.v1",
        "orchestrator.coupling",
        "orchestrator.coupling.launch",
        "orchestrator.scenario",
    ),
    "orchestrator.importers": (*LEAVES, "hwmodels.catalog", "orchestrator.scenario"),
    "orchestrator.off_device": (
        *LEAVES,
        "hwmodels.interface",
        "orchestrator.coupling.streamed",
        "orchestrator.lowering",
        "orchestrator.scenario",
    ),
    "orchestrator.in_step": (*LEAVES, "orchestrator.lowering", "orchestrator.scenario"),
    "orchestrator.pim_devices": (*LEAVES, "orchestrator.lowering", "orchestrator.scenario"),
    "orchestrator.placement": (
        *LEAVES,
        *SEAM,
        "orchestrator.in_step",
        "orchestrator.off_device",
        "orchestrator.pim_devices",
        "orchestrator.kv_layout",
        "orchestrator.lowering",
        "orchestrator.lowering.models",
        "orchestrator.scenario",
        "orchestrator.serving.engines",
        "orchestrator.serving.options",
        "orchestrator.serving.spec",
        "orchestrator.serving.kv.capacity",
        "orchestrator.serving.kv.groups",
        "orchestrator.working_memory",
    ),
    "orchestrator.working_memory": (
        *LEAVES,
        "hwmodels.interface",
        "orchestrator.lowering",
        "orchestrator.lowering.models",
        "orchestrator.serving.kv.profile_run",
    ),
    "orchestrator.kv_layout": (
        *LEAVES,
        "orchestrator.lowering",
        "orchestrator.lowering.models",
        "orchestrator.serving.kv.capacity",
        "orchestrator.serving.kv.groups",
    ),
    "orchestrator.kv_routes": (
        *LEAVES,
        "hwmodels.interface",
        "orchestrator.coupling.mover",
        "orchestrator.lowering",
        "orchestrator.lowering.models",
        "orchestrator.placement",
        "orchestrator.scenario",
    ),
    "orchestrator.kv_tiers": (
        *LEAVES,
        "hwmodels.interface",
        "orchestrator.coupling.mover",
        "orchestrator.instruments.ended",
        "orchestrator.kernel",
        "orchestrator.kv_routes",
        "orchestrator.lowering",
        "orchestrator.off_device",
        "orchestrator.placement",
        "orchestrator.scenario",
        "orchestrator.serving",
        "orchestrator.serving.tiers",
    ),
    "orchestrator.cold_start": (
        *LEAVES,
        "hwmodels.interface",
        "orchestrator.coupling.loading",
        "orchestrator.lowering",
        "orchestrator.off_device",
        "orchestrator.placement",
        "orchestrator.scenario",
    ),
    "orchestrator.books": (
        *LEAVES,
        "orchestrator.coupling",
        "orchestrator.placement",
        "orchestrator.power",
        "orchestrator.scenario",
        "orchestrator.serving",
    ),
    "orchestrator.paces": (
        *LEAVES,
        "orchestrator.coupling",
        "orchestrator.lowering",
        "orchestrator.placement",
        "orchestrator.serving.batch",
        "orchestrator.serving.pace",
    ),
    "orchestrator.availability": (
        *LEAVES,
        "orchestrator.in_step",
        "orchestrator.kernel",
        "orchestrator.lowering",
        "orchestrator.placement",
        "orchestrator.scenario",
        "orchestrator.serving",
        "orchestrator.serving.fleet",
        "orchestrator.workload.randomness",  # seeded streams
    ),
    # who looks on
    "orchestrator.instruments": (
        *LEAVES,
        *SERVING,
        "orchestrator.kernel.queue",
        "orchestrator.coupling.port",
        "orchestrator.lowering.work",
    ),
    # where components come from
    "orchestrator.source": (
        *LEAVES,
        "orchestrator.coupling",
        "orchestrator.coupling.launch",
        "orchestrator.coupling.surrogate",
        "orchestrator.coupling.wired",
        "orchestrator.scenario",
    ),
    # puts all of it together: everything but who reads its results, and no engine
    "orchestrator.simulation": (
        *LEAVES,
        "orchestrator.kernel",
        "orchestrator.workload",
        "orchestrator.serving",
        "orchestrator.serving.host_costs",
        "orchestrator.serving.kv",
        "orchestrator.serving.tiers",
        "orchestrator.scenario",
        "orchestrator.lowering",
        "orchestrator.availability",
        "orchestrator.books",
        "orchestrator.cold_start",
        "orchestrator.kv_routes",
        "orchestrator.kv_tiers",
        "orchestrator.off_device",
        "orchestrator.paces",
        "orchestrator.placement",
        "orchestrator.coupling",
        "orchestrator.instruments",
        "orchestrator.source",
    ),
    # who reads a run
    "orchestrator.report": (
        *LEAVES,
        *SERVING,
        "hwmodels.interface",
        "orchestrator.coupling.components",
        "orchestrator.instruments",
        "orchestrator.kv_tiers",  # figures of pools, by tier
        "orchestrator.power",
        "orchestrator.report.html",
        "orchestrator.scenario",
        "orchestrator.simulation",
        "orchestrator.workload.slo",
    ),
    "orchestrator.report.html": (*LEAVES, "orchestrator.report.result", "orchestrator.scenario"),
    "orchestrator.report.exports": ("orchestrator.errors", "orchestrator.report.result"),
    "orchestrator.record": (
        *LEAVES,
        "hwmodels.interface",
        "orchestrator.coupling.components",
        "orchestrator.coupling.link",
        "orchestrator.instruments",
        "orchestrator.kernel.queue",
        "orchestrator.power",
        "orchestrator.report",
        "orchestrator.scenario",
        "orchestrator.simulation",
        "orchestrator.source",
    ),
    "orchestrator.debug": (
        *LEAVES,
        *SERVING,
        "orchestrator.placement",  # `set` of hardware sees that engines keep what they have
        "hwmodels.interface",
        "orchestrator.coupling",
        "orchestrator.coupling.wired",  # `inside` an island
        "orchestrator.instruments.perfetto",
        "orchestrator.kernel.queue",
        "orchestrator.lowering.work",
        "orchestrator.record",
        "orchestrator.scenario",
        "orchestrator.serving.router",  # `set router/policy` makes one
        "orchestrator.simulation",
        "orchestrator.source",
        "orchestrator.lowering.work",  # what a step is made of
        "orchestrator.workload.randomness",  # seeded streams
    ),
    "orchestrator.view": (  # a front of the debugger: what it shows it asks a session
        *LEAVES,
        "orchestrator.debug",
        "orchestrator.report",
        "orchestrator.report.html",
    ),
    "orchestrator.reruns": (
        *LEAVES,
        "orchestrator.coupling.calibrated",
        "orchestrator.coupling.components",
        "orchestrator.coupling.link",
        "orchestrator.report",
        "orchestrator.scenario",
        "orchestrator.simulation",
        "orchestrator.source",
    ),
    "orchestrator.api": (
        *LEAVES,
        "orchestrator.reruns",
        "orchestrator.debug",
        "orchestrator.record",
        "orchestrator.report",
        "orchestrator.report.html",
        "orchestrator.scenario",
        "orchestrator.simulation",
        "orchestrator.source",
        "orchestrator.source",
    ),
    "orchestrator.sweep": (
        *LEAVES,
        "orchestrator.api",
        "orchestrator.report.result",
        "orchestrator.scenario",
    ),
    "orchestrator.shards": (
        *LEAVES,
        "orchestrator.coupling.costs",
        "orchestrator.coupling.spent",
        "orchestrator.coupling.uses",
        "orchestrator.instruments",
        "orchestrator.report",
        "orchestrator.scenario",
        "orchestrator.serving.fleet.reports",
        "orchestrator.serving.interface",
        "orchestrator.simulation",
        "orchestrator.sweep",
        "orchestrator.workload.request",
    ),
    "orchestrator.calibrate": (
        *SERVING,
        *LEAVES,
        "orchestrator.api",
        "orchestrator.coupling.calibrated",
        "orchestrator.lowering.work",
        "orchestrator.report",
        "orchestrator.scenario",
        "orchestrator.workload.request",
    ),
    "orchestrator.cli": (
        *LEAVES,
        "orchestrator.calibrate",
        "adapters.profiler",
        "orchestrator.lowering",
        "orchestrator.workload",
        "orchestrator.shards",
        "orchestrator.sweep",
        *SERVING,
        "orchestrator.serving.refusals",  # validate asks who can be served
        "hwmodels.catalog",  # the JSON Schema names devices, engines and policies
        "orchestrator.serving.engines",
        "orchestrator.serving.fleet.scaling",
        "orchestrator.serving.options",
        "orchestrator.serving.policies",
        "orchestrator.serving.router",
        "orchestrator.workload.request",
        "hwmodels.interface",
        "component.v1",
        "adapters.conformance",
        "adapters.host",
        "adapters.kit",
        "adapters.tools",
        "orchestrator.api",
        "orchestrator.coupling",
        "orchestrator.coupling.launch",
        "orchestrator.debug",
        "orchestrator.deployment",
        "orchestrator.importers",
        "orchestrator.instruments",
        "orchestrator.lowering.listing",
        "orchestrator.placement",
        "orchestrator.record",
        "orchestrator.report",
        "orchestrator.report.exports",
        "orchestrator.report.html",
        "orchestrator.scenario",
        "orchestrator.serving.refusals",  # `validate` says which requests cannot be served
        "orchestrator.simulation",
        "orchestrator.source",
        "orchestrator.view",
        "orchestrator.workload.request",
    ),
}

#: Libraries that few rooms may know: a transport, a container engine, formats of files.
OUTSIDERS = {
    "grpc": (
        "component.v1",
        "adapters.host",
        "adapters.conformance",
        "orchestrator.coupling",
        "orchestrator.coupling.launch",
        "orchestrator.cli",
    ),
    "distributed": ("orchestrator.sweep",),
    "docker": ("orchestrator.coupling.launch",),
    "click": ("orchestrator.cli",),
    "jinja2": ("orchestrator.report.html", "orchestrator.sweep", "orchestrator.view"),
    "optuna": ("orchestrator.sweep",),
    "perfetto": ("orchestrator.instruments",),
    "rich": ("orchestrator.cli", "orchestrator.report"),
}


def short(module: str) -> str:
    return module.removeprefix("metronome.")


def rule_of(module: str, all_sources: Mapping[str, Source]) -> str:
    """The key in RULES that a module falls under; it need not exist."""
    own = short(room(module, all_sources))
    return short(module) if own == "orchestrator" else own


def violations(all_sources: Mapping[str, Source]) -> Iterator[str]:
    """One line for each import that no rule allows."""
    for module in all_sources:
        rule = rule_of(module, all_sources)
        for other in sorted(imports(module, all_sources)):
            place = short(room(other, all_sources))
            if place == short(room(module, all_sources)) and place != "orchestrator":
                continue
            if not {place, short(other)} & set(RULES.get(rule, ())):
                yield f"{short(module)} imports {short(other)}"
