"""Time, the event queue and the clock owner's loop. No I/O, no transport, no serving words."""
