"""The same episodes as a LeRobotDataset v3: Parquet files with the stored JPEGs in them."""
