"""LIBERO evaluations of any policy whose answer depends on checkpoint, protocol and seed alone."""
