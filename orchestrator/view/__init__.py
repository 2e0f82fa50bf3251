"""`metronome view`: the debugger in a browser. Sessions, the server before them, and the page (docs/view.md)."""
