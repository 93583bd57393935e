"""Looking after a cache: what is in it, is it as it was written, mend it, drop from it, explain it, export it."""
