"""Serving any `hwmodels.interface.Component` over gRPC."""
