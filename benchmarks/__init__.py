"""Measurements of what the tests cannot take the time for; each is run by hand."""
