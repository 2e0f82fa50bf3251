"""Measure vLLM's API server with a model that sleeps:

    STEP_MS=22 python measure.py MODEL_FOLDER > measured.csv

MODEL_FOLDER holds a Llama's config.json and a tokenizer; no weights. Columns: what was done, streams at
once, prompt tokens, and in ms: `request` from the client's call to the start of the step (an idle server
only, there it waits for no step), `first`, `median`, `last` token of a step at the client after its end,
`server_cpu` and `client_cpu` per output token (per request where one token is asked for).
"""

from __future__ import annotations

import asyncio
import bisect
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from vllm.benchmarks.lib.endpoint_request_func import RequestFuncInput, async_request_openai_completions

PORT, HERE = 8077, Path(__file__).parent


def cpu_s(pid: int) -> float:
    """CPU time of all of a process's threads."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


class Bench:
    def __init__(self, session: aiohttp.ClientSession, log: Path, pid: int) -> None:
        self.session, self.log, self.pid, self.sent = session, log, pid, 0

    async def one(self, prompt: int, outputs: int) -> tuple[str, Any]:
        self.sent += 1
        name = f"r{self.sent:06d}"
        words = " ".join(random.choice(WORDS) for _ in range(prompt))
        asked = RequestFuncInput(
            prompt=words,
            api_url=f"http://127.0.0.1:{PORT}/v1/completions",
            prompt_len=prompt,
            output_len=outputs,
            model="m",
            ignore_eos=True,
            request_id=name,
        )
        out = await async_request_openai_completions(asked, self.session)
        if not out.success:
            raise SystemExit(out.error)
        return name, out

    def steps(self) -> list[tuple[float, float, int, str]]:
        rows = [line.split(" ") for line in self.log.read_text().splitlines()]
        return [(float(a), float(b), int(n), fresh) for a, b, n, fresh in rows]

    async def idle(self, prompt: int, count: int = 20) -> None:
        """One request after another, one token each."""
        before, mine, outs = cpu_s(self.pid), time.process_time(), []
        for _ in range(count):
            outs.append(await self.one(prompt, 1))
            await asyncio.sleep(0.02)
        server, client = cpu_s(self.pid) - before, time.process_time() - mine
        steps = [next(step for step in self.steps() if name in step[3]) for name, _ in outs]
        way = [step[0] - out.start_time for step, (_, out) in zip(steps, outs, strict=True)]
        back = [out.start_time + out.ttft - step[1] for step, (_, out) in zip(steps, outs, strict=True)]
        row("one token", 1, prompt, ms(way), ms(back), ms(back), ms(back), server / count * 1e3, client / count * 1e3)

    async def streams(self, count: int, outputs: int = 250) -> None:
        """That many at once, as long as each other."""
        before, mine = cpu_s(self.pid), time.process_time()
        outs = await asyncio.gather(*(self.one(50, outputs) for _ in range(count)))
        server, client = cpu_s(self.pid) - before, time.process_time() - mine
        ends = [step[1] for step in self.steps()]
        lags: dict[int, list[float]] = {}
        for _, out in outs:
            at = out.start_time + out.ttft
            for gap in [0.0, *out.itl]:
                at += gap
                step = bisect.bisect(ends, at) - 1
                lags.setdefault(step, []).append(at - ends[step])
        full = [sorted(lag) for lag in lags.values() if len(lag) == count]
        places = (0, count // 2, -1)
        first, median, last = (ms([lag[i] for lag in full]) for i in places)
        tokens = count * outputs
        row("streams", count, 50, None, first, median, last, server / tokens * 1e3, client / tokens * 1e3)


WORDS = ["step", "batch", "token", "queue", "cache", "block", "prompt", "server", "stream", "device", "kernel"]


def ms(values: list[float]) -> float:
    return statistics.median(values) * 1e3


def row(*cells: object) -> None:
    print(",".join("" if c is None else f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells), flush=True)


async def main(model: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "steps"
        env = {**os.environ, "STEP_LOG": str(log), "PYTHONPATH": f"{HERE}:{os.environ.get('PYTHONPATH', '')}"}
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "vllm.entrypoints.cli.main",
                "serve",
                model,
                "--port",
                str(PORT),
                "--max-num-seqs",
                "1024",
                "--max-num-batched-tokens",
                "2048",
                "--max-model-len",
                "8192",
                "--block-size",
                "32",
                "--no-enable-prefix-caching",
                "--dtype",
                "float16",
                "--served-model-name",
                "m",
                "--distributed-executor-backend",
                "sleeper.SleepExecutor",
            ],
            env=env,
            stdout=sys.stderr,
        )
        try:
            timeout = aiohttp.ClientTimeout(total=3600)
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
                bench = Bench(session, log, server.pid)
                for _ in range(120):
                    try:
                        await session.get(f"http://127.0.0.1:{PORT}/health")
                        break
                    except aiohttp.ClientError:
                        await asyncio.sleep(1)
                await bench.one(50, 5)
                print("what,streams,prompt_tokens,request,first,median,last,server_cpu,client_cpu")
                for prompt in (50, 300, 1000, 2000):
                    await bench.idle(prompt)
                for count in (1, 8, 16, 32, 64, 128):
                    await bench.streams(count)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    random.seed(1)
    asyncio.run(main(sys.argv[1]))
