"""One run over several workers: instances that share nothing are simulated apart, to the bytes of one process."""
