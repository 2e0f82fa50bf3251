"""Every reader of what a user gives, with good input to begin from and a way to try a changed one."""

from __future__ import annotations

import io
import json
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random

import yaml

from ..hwmodels import bundles
from . import mutate
from .good import ASKED, CLUSTER, COMMANDS, LINES, MODULES, REQUESTS

LIMIT_S = 10
CODES = {0, 2, 3, 130, 143}
DIFFERS = 1  # documented: two recordings differ, or a replay decides otherwise


class Hang(KeyboardInterrupt):
    """It took longer than the limit. Whatever else a model or router raises is its own."""


@contextmanager
def limited(seconds: int = LIMIT_S) -> Iterator[None]:
    hangs: list[Hang] = []

    def late(*_: object) -> None:
        hangs.append(Hang(f"not done after {seconds} s"))
        raise hangs[0]

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        if hangs:
            raise hangs[0]


def cli(*arguments: object, also: tuple[int, ...] = ()) -> str:
    """`metronome ARGUMENTS` in this process. What went wrong: an exception, a hang, another exit code; else empty."""
    from metronome.orchestrator.cli import main

    before, sys.argv = sys.argv, ["metronome", *map(str, arguments)]
    said = io.StringIO()
    code: object = 0
    try:
        with redirect_stdout(said), redirect_stderr(said), limited():
            main.main()
    except SystemExit as done:
        code = done.code or 0
    except (Exception, Hang):
        return traceback.format_exc()
    finally:
        sys.argv = before
    if "Traceback (most" in said.getvalue():
        return said.getvalue()
    return "" if code in CODES or code in also else f"exit code {code}: {said.getvalue()[-500:]}"


class Readers:
    """``folder`` holds the good input, made once, and what is tried."""

    def __init__(self, folder: Path, small: dict) -> None:
        self.folder = folder
        self.small = {**small, "workload": {**small["workload"], "num_requests": 3}}
        self.all: dict[str, Callable[[Random], str]] = {
            "scenario": self.scenario,
            "scenario text": self.scenario_text,
            "set": self.set,
            "component": self.component,
            "workload": self.workload,
            "bundle": self.bundle,
            "old bundle": self.old_bundle,
            "import": self.imports,
            "journal": self.journal,
            "reference": self.reference,
            "command line": self.command_line,
            "debugger": self.debugger,
            "protocol": self.protocol,
        }
        self._good()

    def _good(self) -> None:
        self._write("good.yaml", yaml.safe_dump(self.small))
        self.root = self.folder / "bundles" / "H100"
        self.bundle_folder = bundles.write(self.root)
        own = {"model": "profiled", "bundle": "tried-bundle"}
        one = {**self.small["instances"][0], "accelerators": "n0[0:1]"}
        self._write(
            "profiled.yaml", yaml.safe_dump({**self.small, "instances": [one], "components": {"n0.accelerators": own}})
        )
        old = self.folder / "old" / "meta-llama" / "Llama-3.1-8B" / "tp1"
        old.mkdir(parents=True)
        parts = "embedding input_layernorm post_layernorm q_proj k_proj v_proj rope o_proj gate_proj up_proj act_fn down_proj final_layernorm lm_head"
        rows = [f"{name},{n},{100 + n}" for name in parts.split() for n in (1, 8, 64, 2048)]
        (old / "layers.csv").write_text("layer_name,input,latency(ns)\n" + "\n".join(rows) + "\n")
        rows = [f"{c},{k},1,True,{0.1 + c / 1e4 + k / 1e5},0" for c in (16, 512) for k in (0, 1024, 4096)]
        rows += [f"0,{k},{n},False,0,{0.1 + n * k / 1e6}" for n in (1, 16) for k in (64, 4096)]
        head = "prefill_chunk_size,kv_cache_size,batch_size,is_prefill,time_stats.attn_prefill.mean,time_stats.attn_decode.mean\n"
        (old / "attention.csv").write_text(head + "\n".join(rows) + "\n")
        self._write(
            "old.yaml",
            yaml.safe_dump(
                {**self.small, "instances": [one], "components": {"n0.accelerators": {**own, "format": "v0"}}}
            ),
        )
        (self.folder / "models" / "meta-llama").mkdir(parents=True)
        from metronome.hwmodels import catalog

        config = catalog.model_config("meta-llama/Llama-3.1-8B")
        self._write("models/meta-llama/Llama-3.1-8B.json", json.dumps(config))
        self._write("workload.jsonl", "\n".join(map(json.dumps, REQUESTS)))
        problem = cli("run", self.folder / "good.yaml", "-o", self.folder / "run", "--record", "--quiet")
        assert not problem, problem
        self._recorded = (self.folder / "run" / "recording" / "journal").read_bytes()

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, errors="surrogatepass")
        return path

    # Readers: each makes one bad input of its own and says what went wrong with it. ---------------------

    def scenario(self, random: Random) -> str:
        return cli("validate", self._write("tried.yaml", yaml.safe_dump(mutate.change(self.small, random))))

    def scenario_text(self, random: Random) -> str:
        path = self.folder / "tried.yaml"
        path.write_bytes(mutate.raw((self.folder / "good.yaml").read_bytes(), random))
        return cli("validate", path)

    def set(self, random: Random) -> str:
        path = ".".join(map(str, random.choice(mutate.spots(self.small))))
        if random.random() < 0.3:
            path = mutate.raw(path.encode(), random).decode(errors="replace")
        value = random.choice((json.dumps(random.choice(mutate.ODD)), "[", "{a: 1, a: 2}", "!!python/none", "*x"))
        return cli("validate", self.folder / "good.yaml", "--set", f"{path}={value}")

    def component(self, random: Random) -> str:
        """A component's own configuration, or a model that is none."""
        name = random.choice(("n0.accelerators", "n0.dram", "nvlink0"))
        model = random.choice(("roofline", "systolic", "fabric", "bandwidth-latency", "alpha-beta", *MODULES))
        fields = ("device", "compute_efficiency", "bandwidth_gb_s", "latency_ns", "rows", "topology", "groups", "count")
        config = {random.choice(fields): random.choice(mutate.ODD) for _ in range(2)}
        data = {**self.small, "components": {name: {"model": model, **config}}}
        return cli("validate", self._write("tried.yaml", yaml.safe_dump(data)))

    def workload(self, random: Random) -> str:
        """Read to its end: to serve a million tokens would take its time."""
        from metronome.orchestrator.errors import InputError
        from metronome.orchestrator.workload.formats.llmservingsim import LLMServingSimOptions, read
        from metronome.orchestrator.workload.registry import Reading

        rows = "\n".join(json.dumps(mutate.change(row, random)) for row in REQUESTS)
        path = self.folder / "tried.jsonl"
        path.write_bytes(rows.encode() if random.random() < 0.7 else mutate.raw(rows.encode(), random))
        try:
            with limited():
                for _ in read(LLMServingSimOptions(path=str(path)), Reading(Path)):
                    pass
        except InputError:
            return ""
        except (Exception, Hang):
            return traceback.format_exc()
        return ""

    def bundle(self, random: Random) -> str:
        return self._profile(random, "profiled.yaml", self.root)

    def old_bundle(self, random: Random) -> str:
        return self._profile(random, "old.yaml", self.folder / "old")

    def _profile(self, random: Random, scenario: str, good: Path) -> str:
        tried = self.folder / "tried-bundle"
        shutil.rmtree(tried, ignore_errors=True)
        shutil.copytree(good, tried)
        path = random.choice(sorted(p for p in tried.rglob("*") if p.is_file()))
        if path.suffix == ".yaml":
            path.write_text(yaml.safe_dump(mutate.change(yaml.safe_load(path.read_text()), random)))
        elif random.random() < 0.8:
            path.write_text(mutate.table(path.read_text(), random))
        else:
            path.write_bytes(mutate.raw(path.read_bytes(), random))
        problem = cli("run", self.folder / scenario, "-o", self.folder / "profiled", "--quiet")
        text = self.folder / "profiled" / "result.json"
        if not problem and text.is_file() and "NaN" in text.read_text():
            return "NaN in result.json"
        return problem

    def imports(self, random: Random) -> str:
        path = self._write("cluster.json", json.dumps(mutate.change(CLUSTER, random)))
        if random.random() < 0.1:
            path.write_bytes(mutate.raw(path.read_bytes(), random))
        return cli(
            "import", "llmservingsim", path, "--profiles", self.root.parent, "--models", self.folder / "models",
            "--workload", self.folder / "workload.jsonl", "-o", self.folder / "imported.yaml",
        )  # fmt: off

    def journal(self, random: Random) -> str:
        recording = self.folder / "tried-recording"
        shutil.rmtree(recording, ignore_errors=True)
        shutil.copytree(self.folder / "run" / "recording", recording)
        make = mutate.recording if random.random() < 0.8 else mutate.raw
        (recording / "journal").write_bytes(make(self._recorded, random))
        if random.random() < 0.3:
            return cli("diff", self.folder / "run" / "recording", recording, also=(DIFFERS,))
        return cli("replay", recording, "-o", self.folder / "replayed", "--quiet", also=(DIFFERS,))

    def reference(self, random: Random) -> str:
        tried = self.folder / "tried-run"
        shutil.rmtree(tried, ignore_errors=True)
        shutil.copytree(self.folder / "run", tried, ignore=shutil.ignore_patterns("recording"))
        path = random.choice([p for p in sorted(tried.iterdir()) if p.suffix in (".csv", ".json")])
        if path.suffix == ".json":
            path.write_text(json.dumps(mutate.change(json.loads(path.read_text()), random)))
        else:
            path.write_text(mutate.table(path.read_text(), random))
        return cli("compare", tried, self.folder / "run")

    def command_line(self, random: Random) -> str:
        words = random.choice(COMMANDS)
        words = [word.replace("GOOD", str(self.folder / "good.yaml")) for word in words]
        # None of them may lead out of the present folder: what a command is told to write, it writes.
        odd = ("", "-1", "nan", "/dev/null", "/proc/nowhere/x", "é", "a/b/c", "x" * 300, "2" * 30, "-", "--", "*.lab")
        words[random.randrange(1, len(words))] = random.choice(odd)
        here = self.folder / "here"
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir()
        with chdir(here):
            return cli(*words)

    def debugger(self, random: Random) -> str:
        lines = [random.choice(LINES) for _ in range(4)]
        lines = [
            mutate.raw(line.encode(), random).decode(errors="replace") if random.random() < 0.6 else line
            for line in lines
        ]
        script = self._write("script", "\n".join(lines).replace("\x00", "") + "\n")
        return cli("debug", self.folder / "good.yaml", "-x", script, "--batch")

    def protocol(self, random: Random) -> str:
        from metronome.orchestrator.cli.debug import open_session
        from metronome.orchestrator.debug.dap import Adapter
        from metronome.orchestrator.debug.dap_wire import Wire

        messages = [mutate.change(m, random) if random.random() < 0.6 else m for m in random.sample(ASKED, 4)]
        launch = {"seq": 1, "type": "request", "command": "launch", "arguments": {}}
        data = b""
        for message in [launch, *messages]:
            body = json.dumps(message).encode()
            data += b"Content-Length: %d\r\n\r\n" % len(body) + body
        if random.random() < 0.2:
            data = mutate.raw(data, random)
        try:
            with limited():
                make = lambda _: open_session(str(self.folder / "good.yaml"), (), None, None)  # noqa: E731
                Adapter(Wire(io.BytesIO(data), io.BytesIO()), make).serve()
        except (Exception, Hang):
            return traceback.format_exc()
        return ""
