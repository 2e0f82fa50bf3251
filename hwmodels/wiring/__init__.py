"""Components that ask one another: wires, windows of time, what passes between them (docs/ports.md)."""
