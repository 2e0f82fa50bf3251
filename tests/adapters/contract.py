"""The conformance suite on an adapter, in process and over gRPC."""

from __future__ import annotations

import grpc
from metronome.adapters.conformance import CHECKS
from metronome.adapters.conformance.sessions import local, over_wire
from metronome.adapters.host.server import start
from metronome.component.v1.codec import CHANNEL_OPTIONS


def keeps_the_contract(model, config, tmp_path):
    """Every check, both ways."""
    in_process = local(model, config)
    server, _, address = start(model, f"unix:{tmp_path}/c", own=config)
    try:
        with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            apart = over_wire(channel, config)
            for subject in (in_process, apart):
                for check in CHECKS:
                    check(subject)
    finally:
        server.stop(None)
