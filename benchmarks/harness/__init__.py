"""What the benchmarks share: models, our host, the peers, and how figures are shown."""
