"""A small made-up profile bundle in LLMServingSim's format."""

from __future__ import annotations

from pathlib import Path

import yaml

DENSE = (
    "embedding",
    "layernorm",
    "qkv_proj",
    "rotary_emb",
    "o_proj",
    "gate_up_proj",
    "act_fn",
    "down_proj",
    "final_layernorm",
    "norm",
    "elementwise",
    "gemm",
)


def write(root: Path, model: str = "meta-llama/Llama-3.1-8B", variant: str = "bf16", tp: int = 1, skew=True) -> Path:
    """Times that are linear in everything, so that interpolation is exact; returns the bundle's folder."""
    folder = root / model / variant
    tables = folder / f"tp{tp}"
    tables.mkdir(parents=True)
    rows = [f"{layer},{t},{2 + 0.01 * t:.6f}" for layer in DENSE for t in (1, 2, 4, 8, 64, 512, 2048)]
    (tables / "dense.csv").write_text("layer,tokens,time_us\n" + "\n".join(rows) + "\n")
    rows = [f"{layer},{n},{10 + 0.5 * n}" for layer in ("lm_head", "sampler") for n in (1, 2, 8, 64, 256)]
    (tables / "per_sequence.csv").write_text("layer,sequences,time_us\n" + "\n".join(rows) + "\n")
    rows = []
    for chunk in (0, 16, 256, 2048):
        for cached in (0, 512, 4096) if chunk else (0,):
            for n in (0, 1, 8, 128):
                for context in (16, 512, 8192) if n else (0,):
                    if chunk or n:
                        us = 5 + 0.02 * chunk + 1e-6 * chunk * (cached + chunk / 2) + 0.1 * n + 1e-4 * n * context
                        rows.append(f"{chunk},{cached},{n},{context},{us:.6f}")
    header = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n"
    (tables / "attention.csv").write_text(header + "\n".join(rows) + "\n")
    rows = [f"{t},{e},{20 + 3 * e + 0.05 * t}" for t in (1, 64, 2048) for e in (2, 4, 8)]
    if tp == 1:
        (tables / "moe.csv").write_text("tokens,activated_experts,time_us\n" + "\n".join(rows) + "\n")
    axes = {
        "n_bins": [0, 8, 1000000],
        "n_labels": ["n<=8", "n>8"],
        "skew_rate_bins": [-0.01, 0.5, 1.01],
        "skew_rate_labels": ["sr<=50%", "sr>50%"],
        "kv_big_bins": [0, 1024, 1000000000],
        "kv_big_labels": ["kvB<=1k", "kvB>1k"],
        "kp_bins": [-1, 0, 1000000000],
        "kp_labels": ["kp=0", "kp>0"],
    }
    fit = {"enabled": skew, "bucket_axes": axes, "per_tp": {tp: {"alpha_default": 0.25}}}
    (folder / "meta.yaml").write_text(yaml.safe_dump({"model": model, "variant": variant, "skew_fit": fit}))
    (tables / "skew_fit.csv").write_text(
        "pc,n_label,skew_rate_label,kv_big_label,kp_label,alpha,n_samples\n0,n<=8,sr<=50%,kvB<=1k,kp=0,0.5,4\n"
    )
    return folder
