"""One global clock and one serving-level scheduler over component models of hardware."""

import sys
from pathlib import Path

import metronome

if getattr(metronome, "DISTRIBUTION", None) != "metronome-cosim":
    _file = Path(__file__).parent.parent / "__init__.py"
    _text = (
        f"{_file} is not metronome-cosim's: another distribution of that name has replaced or removed it. "
        "Mend it with `pip uninstall metronome` and `pip install --force-reinstall --no-deps metronome-cosim`"
    )
    if Path(sys.argv[0]).stem in ("metronome", "__main__"):  # the command: one line, no traceback
        sys.exit(f"metronome: {_text}")
    raise ImportError(_text)
