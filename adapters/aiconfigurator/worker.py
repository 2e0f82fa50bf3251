"""Runs in the tool's own interpreter: a JSON question a line in, ``= picoseconds provenance`` out.

Imports nothing of the project. The engine answers everything and calls it "silicon", whether the
shape was measured, lies between measurements or far beyond them; the tables are read here to tell
these apart. Arguments: system, backend, database version.
"""

import json
import sys

PS_PER_MS = 10**9
MEASURED, INTERPOLATED, EXTRAPOLATED, MODELLED = "measured", "interpolated", "extrapolated", "modelled"
ORDER = (MODELLED, EXTRAPOLATED, INTERPOLATED, MEASURED)
COLLECTIVES = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "all_to_all": "alltoall",
}


class Refused(Exception):
    """What the tool has no figures for."""


class Table:
    """Where a nested table was measured: {key: {key: ... {"latency": ...}}}."""

    def __init__(self, nested):
        self.nested = nested
        self.bounds = {}

    def provenance(self, *keys):
        """Of a point: measured if the table has it, by the range of each of its coordinates if not."""
        spot = self.nested
        for key in keys:
            if key not in spot:
                break
            spot = spot[key]
        else:
            return MEASURED
        for depth, key in enumerate(keys):
            low, high = self._range(depth)
            if not low <= key <= high:
                return EXTRAPOLATED
        return INTERPOLATED

    def _range(self, depth):
        if depth not in self.bounds:
            level = [self.nested]
            for _ in range(depth):
                level = [below for spot in level for below in spot.values()]
            found = [key for spot in level for key in spot]
            self.bounds[depth] = min(found), max(found)
        return self.bounds[depth]


class Tool:
    """One database of the engine."""

    def __init__(self, system, backend, version):
        from aiconfigurator_core.sdk import EngineHandle, common, engine, operations, perf_database

        self.common, self.operations, self.engine = common, operations, engine
        self.database = perf_database.get_database(system, backend, version)
        self.handle = EngineHandle.for_database(self.database)
        self.tables = {}

    def table(self, operation, attribute, *path):
        """The part of a table under these keys."""
        if (attribute, path) not in self.tables:
            operation.load_data(self.database)
            spot = getattr(self.database, attribute)
            for key in path:
                if key not in spot:
                    keys = " ".join(str(getattr(key, "name", key)) for key in path)
                    raise Refused(f"{self.database.system} has no measurements of {attribute.strip('_')} for {keys}")
                spot = spot[key]
            self.tables[attribute, path] = Table(spot)
        return self.tables[attribute, path]

    def ask(self, op, context=False, batch=1, s=1, x=None, prefix=0):
        """Milliseconds of one operation."""
        text = self.engine.build_ops_json([op])
        ((_, ms, *_),) = self.handle.evaluate_ops_json(
            text, is_context=context, batch_size=batch, s=s, x=x, prefix=prefix
        )
        return ms

    def answer(self, question):
        """[(ms, provenance)] that add up to the operation."""
        kind = question["kind"]
        if kind == "version":
            return str(self.database.version)
        return getattr(self, kind, self.vector)(**question)

    def gemm(self, m, n, k, dtype, **_):
        op, quant = self.operations.GEMM, self._mode(self.common.GEMMQuantMode, dtype)
        table = self.table(op, "_gemm_data", quant)
        return [(self.ask(op("gemm", 1.0, n, k, quant), batch=m, x=m), table.provenance(m, n, k))]

    def vector(self, tokens, width, **_):
        """Norms, activations, embeddings, sampling: the engine's formula, from the device's bandwidth."""
        op = self.operations.ElementWise("vector", 1, width, 0, 0.8)
        return [(self.ask(op, batch=tokens, x=tokens), MODELLED)]

    def attention(self, heads, kv_heads, head_size, dtype, kv_dtype, decodes, context, prompts, **_):
        """Decodes at their mean context, and each prompt alone."""
        found = []
        kv = self._mode(self.common.KVCacheQuantMode, kv_dtype)
        group = 0 if kv_heads == heads else kv_heads
        if decodes:
            op = self.operations.GenerationAttention
            table = self.table(op, "_generation_attention_data", kv, group, head_size, 0)
            ms = self.ask(op("decode", 1, heads, kv_heads, kv, head_size=head_size), False, decodes, context)
            found.append((ms, table.provenance(heads, decodes, context)))
        fmha = self._mode(self.common.FMHAQuantMode, dtype)
        for new, cached in prompts:
            op = self.operations.ContextAttention
            table = self.table(op, "_context_attention_data", fmha, kv, group, head_size, 0)
            prompt = op("prompt", 1, heads, kv_heads, kv, fmha, head_size=head_size)
            ms = self.ask(prompt, True, 1, new, prefix=cached)
            # Only prompts without a cached part were measured; for others the engine scales.
            found.append((ms, MODELLED if cached else table.provenance(heads, new, 1)))
        return found

    def moe(self, tokens, hidden, intermediate, experts, top_k, dtype, tp, **_):
        """Balanced experts; ``intermediate`` is one rank's share of the experts' width."""
        op, quant = self.operations.MoE, self._mode(self.common.MoEQuantMode, dtype)
        table = self.table(op, "_moe_data", quant, "balanced", top_k, experts, hidden, intermediate * tp, tp, 1)
        asked = op("moe", 1, hidden, intermediate * tp, top_k, experts, tp, 1, quant, "balanced", 0)
        return [(self.ask(asked, batch=tokens, x=tokens), table.provenance(tokens))]

    def collective(self, name, participants, elements, **_):
        """NCCL's; of all-reduces within the engine's reach its own kernel, where that was measured and is quicker."""
        half, nccl = self.common.CommQuantMode.half, self.operations.NCCL
        table = self.table(nccl, "_nccl_data", half, COLLECTIVES[name], participants)
        ms = self.ask(nccl(name, 1, COLLECTIVES[name], elements, participants, half), x=1)
        best = (ms, table.provenance(elements))
        if name == "all_reduce":
            own = self.operations.CustomAllReduce
            try:
                table = self.table(own, "_custom_allreduce_data", half, participants, "AUTO")
            except Refused:
                return [best]
            ms = self.ask(own(name, 1, elements, participants), x=1)
            best = min(best, (ms, table.provenance(elements)))
        return [best]

    @staticmethod
    def _mode(modes, dtype):
        name = {"bf16": "bfloat16", "fp16": "bfloat16", "fp8": "fp8", "int8": "int8"}.get(dtype, dtype)
        if name not in modes.__members__:
            raise Refused(f"there is no {dtype} among {', '.join(modes.__members__)}")
        return modes[name]


def main(system, backend, version):
    tool = Tool(system, backend, version)
    for line in sys.stdin:
        try:
            found = tool.answer(json.loads(line))
            if isinstance(found, str):
                print("=", found, flush=True)
                continue
            ps = round(sum(ms for ms, _ in found) * PS_PER_MS)
            print("=", ps, min((how for _, how in found), key=ORDER.index), flush=True)
        except Exception as error:
            print(f"! {type(error).__name__}: {' '.join(str(error).split())}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
