"""The study on top of the cache; nothing outside imports it."""
