"""Metronome: one global clock and one serving-level scheduler over component models of hardware."""
