"""Trains and evaluates a grid of settings, and writes one table of them."""
