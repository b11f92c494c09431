"""The networks that learn features."""
