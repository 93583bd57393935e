"""What the page shows, read from an experiment's folder."""
