"""Which part of a simulation is off against a real server's log, and by what factor (docs/calibrate.md).

``log`` reads what was measured, ``load`` finds the requests to simulate, ``simulator`` gives the same figures under
factors, ``fit`` is the statistics, ``search`` puts them together, ``finding`` is what came out.
"""
