"""Good input of every reader, and odd words among it: what is changed."""

from __future__ import annotations

from copy import deepcopy

from ..small import SMALL

SCENARIO = deepcopy(SMALL)
SCENARIO["cluster"]["nodes"][0]["memory"]["dram"] = {"size_gib": 512, "bandwidth_gb_s": 100, "latency_ns": 90}
MODULES = (
    "os:system",
    "json:JSONEncoder",
    "no.such:Thing",
    "tests.fuzz.raises:Model",
    "metronome.hwmodels.base:Model",
    ":",
    "a:",
    "metronome:",
)
REQUESTS = [
    {"input_toks": 20, "output_toks": 5, "arrival_time_ns": 0},
    {"input_toks": 3, "output_toks": 2, "arrival_time_ns": 10, "input_tok_ids": [1, 2, 3], "output_tok_ids": [4, 5]},
    {
        "session_id": "s",
        "arrival_time_ns": 20,
        "sub_requests": [
            {"input_toks": 20, "output_toks": 5, "tool_duration_ns": 5},
            {"input_toks": 40, "output_toks": 5, "tool_duration_ns": 0},
        ],
    },
]
CLUSTER = {
    "num_nodes": 1,
    "link_bw": 112,
    "link_latency": 10,
    "nodes": [
        {
            "num_instances": 1,
            "cpu_mem": {"mem_size": 512, "mem_bw": 256, "mem_latency": 0},
            "power": {
                "base_node_power": 60,
                "npu": {"H100": {"idle_power": 70, "active_power": 700, "standby_power": 1}},
                "dram": {"dimm_size": 32, "idle_power": 1.7, "energy_per_bit": 4.3},
            },
            "instances": [
                {
                    "model_name": "meta-llama/Llama-3.1-8B",
                    "hardware": "H100",
                    "npu_mem": {"mem_size": 80, "mem_bw": 3350, "mem_latency": 0, "mem_util": 0.9},
                    "num_npus": 1,
                    "tp_size": 1,
                    "pd_type": None,
                }
            ],
        }
    ],
}
COMMANDS = [
    ["certs", "nvlink", "--host", "sim.lab", "--days", "7", "-o", "/proc/nowhere"],
    ["certs", "nvlink", "other", "-o", "/proc/nowhere"],
    ["run", "GOOD", "-o", "/proc/nowhere", "--quiet"],
    ["run", "GOOD", "--set", "seed=1", "-o", "/proc/nowhere", "--seed", "1"],
    ["replay", "GOOD", "-o", "/proc/nowhere"],
    ["diff", "GOOD", "GOOD"],
    ["compare", "GOOD", "GOOD", "--anchor", "queued"],
    ["validate", "GOOD", "--set", "a.b=1"],
    ["deploy", "compose", "GOOD", "-o", "/proc/nowhere"],
    ["deploy", "k8s", "GOOD", "-o", "/proc/nowhere"],
    ["debug", "GOOD", "-x", "GOOD", "--batch"],
    ["conformance", "alpha-beta", "--config", "GOOD"],
    ["serve-component", "alpha-beta", "--listen", "unix:/proc/nowhere/c", "--config", "GOOD"],
    ["serve-component", "alpha-beta", "--listen", "127.0.0.1:0", "--set", "latency_ns=1"],
    ["components", "alpha-beta"],
    ["import", "llmservingsim", "GOOD", "--profiles", "GOOD", "--models", "GOOD", "--workload", "GOOD", "-o", "/proc/x"],
    ["new-adapter", "mine", "-o", "/proc/nowhere"],
]  # fmt: skip
LINES = (
    "break " + "(" * 3000, "break time > " + "9" * 5000, "step " + "9" * 5000, "until 99999999999999s", "x" * 5000,
    "run", "step 3", "next 2", "continue", "back 1", "break kind == arrival and time > 5ms", "break 5", "info engines",
    "print engines/a/kv/free", "print a/b", "set engines/a/config/max_num_seqs 4", "set router/policy random", "watch engines/a/kv/free",
    "why", "list", "ls engines", "cd engines/a", "goto 5", "until 5ms", "ignore 1 2", "condition 1 time > 5ms", "catch fault",
    "delete 1", "tbreak time >= 1.5s", "commands 1", "end", "finish", "stepi", "x/3 a", "messages nvlink0", "where", "checkpoint",
)  # fmt: skip
ASKED = [
    {"seq": n, "type": "request", "command": command, "arguments": arguments}
    for n, (command, arguments) in enumerate(
        [
            ("initialize", {"adapterID": "m"}),
            ("configurationDone", {}),
            ("threads", {}),
            ("stackTrace", {"threadId": 1, "startFrame": 0, "levels": 5}),
            ("scopes", {"frameId": 1}),
            ("variables", {"variablesReference": 1, "start": 0, "count": 3}),
            ("evaluate", {"expression": "engines/a", "context": "hover"}),
            ("evaluate", {"expression": "step 2", "context": "repl"}),
            ("setBreakpoints", {"source": {"path": "x"}, "breakpoints": [{"line": 3, "condition": "time > 5ms"}]}),
            ("setFunctionBreakpoints", {"breakpoints": [{"name": "nvlink0:send", "hitCondition": "2"}]}),
            ("setExceptionBreakpoints", {"filters": ["fault"]}),
            ("setDataBreakpoints", {"breakpoints": [{"dataId": "engines/a/kv/free"}]}),
            ("dataBreakpointInfo", {"name": "free", "variablesReference": 1}),
            ("setVariable", {"variablesReference": 1, "name": "x", "value": "1"}),
            ("completions", {"text": "print eng", "column": 5, "frameId": 1}),
            ("source", {"sourceReference": 1, "source": {}}),
            ("exceptionInfo", {"threadId": 1}),
            ("next", {"threadId": 1}),
            ("stepIn", {"threadId": 1}),
            ("stepBack", {"threadId": 1}),
            ("loadedSources", {}),
        ],
        2,
    )
]
