"""The lens and what it is trained for."""
