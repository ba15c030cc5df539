"""The `libero_rl` dataset as TFDS wants it: a folder that explains itself."""
