"""The archive: whole days of samples as Parquet, by site and UTC day, each with a manifest that proves it."""
