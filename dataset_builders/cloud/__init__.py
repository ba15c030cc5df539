"""Datasets elsewhere: published to cloud storage, and read from there."""
