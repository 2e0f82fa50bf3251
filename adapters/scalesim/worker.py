"""Runs in the tool's own interpreter: ``rows columns dataflow m n k`` in, ``= cycles`` out.

Imports nothing of the project. `run_scale` needs its three files; a missing one would end the
process with exit code 0, and the method that should give the total is broken in 3.0.0, so the
report of the layer is read.
"""

import sys
from pathlib import Path

CONFIG = """[general]
run_name = tile
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = 1024
FilterSramSzkB = 1024
OfmapSramSzkB = 1024
IfmapOffset = 0
FilterOffset = 100000000
OfmapOffset = 200000000
Bandwidth = 10
Dataflow = {dataflow}
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""
LAYOUT = "Layer,\ntile,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,\n"


def cycles(simulator, rows, columns, dataflow, m, n, k):
    """Total cycles without stalls of one GEMM on one array."""
    Path("tile.cfg").write_text(CONFIG.format(rows=rows, columns=columns, dataflow=dataflow))
    Path("tile.csv").write_text(f"Layer,M,N,K,\ntile,{m},{n},{k},\n")
    Path("layout.csv").write_text(LAYOUT)
    run = simulator(
        save_disk_space=True,
        verbose=False,
        config="tile.cfg",
        topology="tile.csv",
        layout="layout.csv",
        input_type_gemm=True,
    )
    run.run_scale(top_path=".")
    (layer,) = run.runner.single_layer_sim_object_list
    _, total, stalls, *_ = layer.get_compute_report_items()
    if int(stalls) != 0:
        raise ValueError(f"{stalls} stalled cycles in the stall-free mode")
    return int(total)


def main():
    from scalesim.scale_sim import scalesim

    for line in sys.stdin:
        try:
            rows, columns, dataflow, m, n, k = line.split()
            answer = cycles(scalesim, int(rows), int(columns), dataflow, int(m), int(n), int(k))
        except (Exception, SystemExit) as error:  # SystemExit: how the tool says that a file is missing
            print(f"! {type(error).__name__}: {' '.join(str(error).split())}", flush=True)
        else:
            print(f"= {answer}", flush=True)


if __name__ == "__main__":
    main()
