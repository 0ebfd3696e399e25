"""Questions to the archive as Ibis expressions: DuckDB answers them on one machine, Spark where a fleet outgrows it."""
