"""Serving any `metronome.hwmodels.interface.Component` over gRPC."""
