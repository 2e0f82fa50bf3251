"""What the cluster draws, by part and over the clock."""
