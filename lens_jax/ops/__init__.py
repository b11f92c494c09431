"""Device-side image operations, pure functions of keys and images."""
