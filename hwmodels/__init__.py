"""Reference hardware models, and the one seam (`metronome.hwmodels.interface`) every model stands behind.

Nothing here imports the orchestrator or the adapters: a model answers questions about hardware and
knows neither schedulers nor transports.
"""
