"""One file a question. Pure: tables in, a table out; written in what both DuckDB and Spark can run."""
