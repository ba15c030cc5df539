"""Policies that look through cameras: pictures, encoders, and their training."""
