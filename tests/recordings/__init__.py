"""Runs recorded by released versions, which later versions must replay event for event.

`VERSION/NAME/` holds the journal of one run and its requests.csv. `unreleased/` is what the next release will keep.
"""
