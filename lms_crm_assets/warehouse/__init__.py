"""One DuckDB file a tenant; one schema a layer."""
