"""Episodes as records of files: encoded without TensorFlow, rendered in parts, joined to shards."""
