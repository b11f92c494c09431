"""Convolutions and max pooling of our nets beside XLA's own."""
