"""Where samples are kept: one port, two real adapters (DuckDB in one file, InfluxDB)."""
