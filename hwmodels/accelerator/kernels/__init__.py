"""How long a GPU's kernels take, by family: tiles over multiprocessors, bytes over bandwidth, launches."""
