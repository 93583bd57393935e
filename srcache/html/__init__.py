"""HTML and SVG as values; knows nothing of studies."""
