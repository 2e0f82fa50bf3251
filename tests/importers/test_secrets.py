"""Keys, tokens and passwords of a command line are in no file that is made of it."""

from __future__ import annotations

import shlex

import pytest
from metronome.orchestrator.importers.secrets import without_secrets

MODEL = "meta-llama/Llama-3.1-8B"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--api-key S --port 80", "--api-key *** --port 80"),
        ("--api-key S S2 --port 80", "--api-key *** *** --port 80"),
        ("--api_key=S", "--api_key=***"),
        ("--hf-token S", "--hf-token ***"),
        ("--hf-token=S", "--hf-token=***"),
        ("--hf-token --port 80", "--hf-token --port 80"),
        ("--admin-api-key S", "--admin-api-key ***"),
        ("--ssl-keyfile-password S", "--ssl-keyfile-password ***"),
        ("docker run -e HF_TOKEN=S x", "docker run -e HF_TOKEN=*** x"),
        ("docker run -eHF_TOKEN=S --env=VLLM_API_KEY=S x", "docker run -eHF_TOKEN=*** --env=VLLM_API_KEY=*** x"),
        ("HUGGING_FACE_HUB_TOKEN=S vllm serve", "HUGGING_FACE_HUB_TOKEN=*** vllm serve"),
        (
            "bash -c 'export A_TOKEN=S; vllm serve m --api-key S'",
            "bash -c 'export A_TOKEN=*** vllm serve m --api-key ***'",
        ),
        ("bash -c 'A=1 vllm serve m --api-key \"S S\" --port 8'", "bash -c 'A=1 vllm serve m --api-key *** --port 8'"),
        ("--tokenizer x --max-num-batched-tokens 4k --ssl-keyfile f", None),
    ],
)
def test_values_of_secrets_are_hidden(text, shown):
    assert shlex.join(without_secrets(shlex.split(text))) == shlex.join(shlex.split(shown or text))


def test_a_scenario_has_no_secret(cli, tmp_path):
    words = ["docker", "run", "-e", "HF_TOKEN=hush1", "vllm/vllm-openai:v0.19.0", "--model"]
    flags = [MODEL, "--api-key", "hush2", "--hf-token=hush3", "--port", "80"]
    done = cli("import", "vllm", "-o", tmp_path / "s.yaml", "--", *words, *flags)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "s.yaml").read_text()
    assert "hush" not in text + done.output and "--api-key '***' '--hf-token=***' --port 80" in text
