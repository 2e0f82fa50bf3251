"""``python -m metronome``: the command line."""

from .orchestrator.cli.main import main

main()
