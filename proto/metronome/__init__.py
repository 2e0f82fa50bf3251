"""What Metronome ships beside its packages: the wire contract and the bundled scenarios."""
