"""Kinds of change under which an evaluation asks how much success a policy keeps."""
