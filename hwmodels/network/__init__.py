"""Networks: point-to-point transfers and collectives among devices."""
