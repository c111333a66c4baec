"""The DuckDB store of a run: numbered migrations, views, one writer."""
