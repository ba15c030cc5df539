"""Files elsewhere, such as `gs://`, `s3://` or `hf://`: addressed, read in blocks, copied."""
