"""Runs a load-store trace on one DDR5 channel of Ramulator 2.1 and prints all statistics: for the adapter `ramulator2`.

Run it with an interpreter that has Ramulator's bindings: ``program: python3``, ``arguments: [this file, "{trace}"]``.
"""

import sys

import ramulator  # type: ignore[import-not-found]  # built by its user

channel = ramulator.controller.GenericDDR(
    dram=ramulator.dram.DDR5(org_preset="DDR5_16Gb_x8", timing_preset="DDR5_4800B"),
    scheduler=ramulator.scheduler.FRFCFS(),
    refresh_manager=ramulator.refresh_manager.AllBank(),
    row_policy=ramulator.row_policy.Open(),
    addr_mapper=ramulator.addr_mapper.RoBaRaCoCh(),
)
memory = ramulator.memory_system.GenericDRAM(
    clock_ratio=1, controllers=[channel], channel_mapper=ramulator.channel_mapper.CacheLineInterleave()
)
front_end = ramulator.frontend.LoadStoreTrace(clock_ratio=1, path=sys.argv[1])
simulation = ramulator.Simulation(front_end, memory)
simulation.run()
print(simulation.stats)
