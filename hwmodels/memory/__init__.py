"""Memories: host DRAM, CXL and other pools reached by bytes."""
