"""Evaluations of frozen checkpoints."""
