"""Whether the memory of a training grows."""
