"""Measures the operations of a plan on this machine's device with PyTorch, into a bundle that `profiled` reads.

``points`` says what is measured, ``kernels`` what is run for it, ``timing`` how long it takes, ``journal`` keeps every
measurement as it is made, ``bundle`` makes the tables, ``collectives`` measures between devices.
"""
