"""All that knows what the folder of a run holds."""
