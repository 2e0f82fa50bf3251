"""Runs too long for the gate that show what a coupling costs and how close it is: ``make study``."""
