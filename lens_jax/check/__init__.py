"""Checks whether a machine is fit to train."""
