"""Self-supervised training with a lens that removes what the feature extractor exploits."""
