"""Looking after a cache; one file per command."""
