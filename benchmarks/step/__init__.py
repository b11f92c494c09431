"""What a training step costs, with and without the lens."""
