"""Programs that behave as the simulators do that are not here: how they end, what they count, and what they hide.

Each is written from the tool's own source, named beside it, and none is a simulator: what takes time takes a fixed time.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

#: Ramulator 2.1: `loadstore_trace.cpp` sends a request a cycle and ends when the last is *accepted*, `controller_base.cpp`
#: accepts into queues of 32, forwards, merges stores to one place, and counts accepted and served apart.
RAMULATOR2 = """
import os, re, sys
CHANNELS, SERVICE, LATENCY, QUEUE = %(channels)d, %(service)d, %(latency)d, 32
lines = [line.split() for line in open(sys.argv[1])]
print(f"[Ramulator::LoadStoreTrace] [info] Loaded {len(lines)} lines.")
if not lines: os.kill(os.getpid(), 11)
queues = [{"LD": [], "ST": []} for _ in range(CHANNELS)]
busy, served, latencies, pending = [0] * CHANNELS, [[0, 0] for _ in range(CHANNELS)], [[] for _ in range(CHANNELS)], []
sent = cycle = 0
while sent < len(lines):
    word, address = lines[sent][0], int(lines[sent][1])
    channel = address // %(bytes)d %% CHANNELS
    own = queues[channel]
    if word == "ST" and any(address == a for a, _ in own["ST"]):
        sent += 1
    elif len(own[word]) < QUEUE:
        own[word].append((address, cycle))
        sent += 1
    cycle += 1
    for at, who, arrived in [one for one in pending if one[0] <= cycle]:
        latencies[who].append(at - arrived)
    pending = [one for one in pending if one[0] > cycle]
    for number, own in enumerate(queues):
        if busy[number] <= cycle and (own["LD"] or own["ST"]):
            word = "LD" if own["LD"] else "ST"
            _, arrived = own[word].pop(0)
            busy[number] = cycle + SERVICE
            served[number][word == "ST"] += 1
            if word == "LD": pending.append((cycle + LATENCY, number, arrived))
controllers = [{"cycles": cycle, "num_read_reqs_served": reads, "num_write_reqs_served": writes,
    "total_throughput_MBps": (reads + writes) * %(bytes)d * 1e6 / (cycle * %(tck)d),
    "avg_read_latency": sum(times) / len(times) if times else 0.0} for (reads, writes), times in zip(served, latencies)]
print({"memory_system": {"total_num_read_requests": sum(word == "LD" for word, _ in lines), "controller": controllers}})
"""

#: DRAMsim3: `cpu.cc` inserts a request a cycle, `controller.cc` posts writes (done when accepted), `main.cc` always runs
#: the cycles it is told. A channel here serves a burst after another; a request alone opens its row first.
DRAMSIM3 = """
import json, re, sys
ini = open(sys.argv[1]).read()
def number(name, default): return float((re.search(rf"(?m)^{name} *= *([0-9.]+)", ini) or [0, default])[1])
cycles = int(sys.argv[sys.argv.index("-c") + 1])
text = open(sys.argv[sys.argv.index("-t") + 1]).read()
trace = [line.split() for line in text.splitlines()]
if text.endswith("\\n"): trace.append(trace[-1])  # the end of the file is only seen by reading on
channels, burst = int(number("channels", 1)), number("BL", 8) / %(bits)d
alone = number("tRCD", number("tRCDRD", 14)) + number("CL", 14) + burst + 1
free, taken, found = [0.0] * channels, 0, {str(c): dict(num_cycles=cycles, num_reads_done=0, num_writes_done=0,
    num_read_cmds=0, num_write_cmds=0, average_read_latency=0.0) for c in range(channels)}
waits = [[] for _ in range(channels)]
for cycle in range(cycles):
    if taken == len(trace): break
    address, word, at = trace[taken]
    channel = int(address, 16) // int(number("bus_width", 64) * number("BL", 8) / 8) %% channels
    if int(at) > cycle or free[channel] > cycle + 32 * burst: continue
    taken += 1
    free[channel] = max(free[channel], cycle) + burst
    if word == "WRITE": found[str(channel)]["num_writes_done"] += 1
    if free[channel] + alone - burst <= cycles:
        if word == "READ":
            found[str(channel)]["num_reads_done"] += 1
            found[str(channel)]["num_read_cmds"] += trace[taken - 2][0] != address  # one command for both of a place
            waits[channel].append(free[channel] + alone - burst - cycle)
        else:
            found[str(channel)]["num_write_cmds"] += 1
for channel, times in enumerate(waits):
    if times: found[str(channel)]["average_read_latency"] = sum(times) / len(times)
json.dump(found, open("dramsim3.json", "w"))
"""

#: BookSim 2: `batchtrafficmanager.cpp` and `trafficmanager.cpp` say this much at their ends, `anynet.cpp` where its file is
#: not found; a run that converged leaves 255, one that did not 0.
BOOKSIM2 = """
import os, re, sys
text = open(sys.argv[1]).read()
given = dict(re.findall(r"(?m)^ *(\\w+) *= *([^;]+);", text))
if "network_file" in given and not os.path.exists(given["network_file"]):
    print("Anynet:can't open network file " + given["network_file"])
    print("BEGIN Configuration File: " + sys.argv[1] + "\\n" + text * 5 + "END Configuration File: " + sys.argv[1])
    raise SystemExit(255)
print("BEGIN Configuration File: x\\n" + text + "\\nEND Configuration File: x")
print("====== Overall Traffic Statistics ======\\n====== Traffic class 0 ======")
print("Packet latency average = 40.5 (1 samples)\\nAccepted packet size average = 20 (1 samples)")
if given.get("sim_type") == "batch":
    took = int(given["batch_size"]) * int(given["packet_size"]) * (2 if given["traffic"] == "uniform" else 1) + 40
    for _ in range(3): print(f"Overall min batch duration = {took} (1 samples)")
raise SystemExit(255)
"""

#: ASTRA-sim: a message of a chunk is its bytes over the ranks, in whole bytes; one of none is waited for for ever.
ASTRASIM_SPINS = """
import glob, json, re
ranks, chunks = len(glob.glob("w.*.et")), json.load(open("system.json"))["preferred-dataset-splits"]
data = open("w.0.et", "rb").read()
at, size, shift = data.index(b"comm_size") + len(b"comm_size") + 1, 0, 0
while True:
    size |= (data[at] & 0x7F) << shift
    shift, at = shift + 7, at + 1
    if not data[at - 1] & 0x80: break
while size // chunks // ranks == 0: pass
for rank in range(ranks): print(f"sys[{rank}] finished, 2000 cycles, exposed communication 2000 cycles.")
"""


def dramsim3_library(folder: Path) -> Path:
    """A shared library of `dramsim3_standin.cc`, which says what it does as DRAMsim3's does."""
    built = folder / "libdramsim3.so"
    source = Path(__file__).parent / "dramsim3_standin.cc"
    subprocess.run(["g++", "-std=c++17", "-O2", "-fPIC", "-shared", "-o", built, source], check=True)
    return built
