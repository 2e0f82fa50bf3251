"""One file a format of workload: its options, how it is read, how its files are known. Each has one `FORMAT`."""
