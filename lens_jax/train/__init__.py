"""State, joint update, training loop and checkpoints."""
