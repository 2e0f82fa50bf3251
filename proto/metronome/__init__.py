"""Metronome: a co-simulation orchestrator for LLM serving."""

#: What must own this package. An unrelated project of that name is on PyPI; installed over ours it replaces this
#: file, and `metronome.orchestrator` says so.
DISTRIBUTION = "metronome-cosim"
