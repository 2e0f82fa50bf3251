"""One global clock and one serving-level scheduler over component models of hardware."""

import metronome

if getattr(metronome, "DISTRIBUTION", None) != "metronome-cosim":
    raise ImportError(
        f"{metronome.__file__} belongs to another distribution than metronome-cosim and has replaced a part of it: "
        "`pip uninstall metronome`, then `pip install --force-reinstall --no-deps metronome-cosim`"
    )
