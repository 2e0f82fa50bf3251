"""Adapters of simulators that their user builds: a configuration says where the program is."""
