"""The audit on sets of which is known what was planted into them."""
