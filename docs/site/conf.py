"""Sphinx's settings for the site: Markdown as GitHub reads it, one theme that asks nobody else for anything."""

project = "Metronome"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "Metronome"
html_copy_source = False
html_show_sphinx = False
myst_heading_anchors = 4  # headings have the anchors they have on GitHub
nitpicky = True
