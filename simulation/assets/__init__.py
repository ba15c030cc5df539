"""Meshes, textures and MJCF files: where they come from, and the embedded pack."""
