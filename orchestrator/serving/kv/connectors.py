"""What is known of the ways to hand K and V on, by the names that vLLM's configuration has for them.

Sources are in `vllm/distributed/kv_transfer/kv_connector/v1/` of 0.19.0, methods get_num_new_matched_tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KvConnectorRule:
    """Who samples the first token that the client is sent, and whether the decode engine goes on while K and V arrive.

    Attributes:
        decode_gives_first_token: see `interface.KvConnector`.
        within_step: vLLM loads K and V within a step of the decode engine, all of whose requests wait for them.
    """

    decode_gives_first_token: bool
    within_step: bool = False


RULES: Mapping[str, KvConnectorRule] = {
    "nixl": KvConnectorRule(True),  # nixl_connector.py: all tokens of the prompt, asynchronously
    "mooncake": KvConnectorRule(True),  # mooncake/mooncake_connector.py: likewise
    "p2p-nccl": KvConnectorRule(True, within_step=True),  # p2p/p2p_nccl_connector.py: all but the last, synchronously
    "lmcache": KvConnectorRule(True, within_step=True),  # lmcache_integration/vllm_v1_adapter.py: likewise
    # Its decoding stage goes on from the token that its prefill stage has sampled (DistServe's migration).
    "distserve": KvConnectorRule(False),
}
