"""The archive: days as Parquet."""
