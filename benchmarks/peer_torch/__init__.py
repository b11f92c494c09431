"""The step of `benchmarks.step` beside the same nets and the same update in PyTorch."""
