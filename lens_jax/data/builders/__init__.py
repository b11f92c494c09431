"""The data sets that this project makes itself, as TFDS builders."""
