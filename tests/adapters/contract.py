"""The conformance suite on an adapter, in process, over gRPC and over frames."""

from __future__ import annotations

import grpc
from metronome.adapters.conformance import CHECKS
from metronome.adapters.conformance.sessions import local, over_wire
from metronome.adapters.host.server import start
from metronome.component.v1.codec import CHANNEL_OPTIONS


def keeps_the_contract(model, config, tmp_path):
    """Every check, in all three ways."""
    in_process = local(model, config)
    server, _, address = start(model, f"unix:{tmp_path}/c", own=config, framed=True)
    try:
        with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            apart = over_wire(channel, config)
            framed = over_wire(channel, config, address)
            for subject in (in_process, apart, framed):
                for check in CHECKS:
                    check(subject)
    finally:
        server.stop(None)
