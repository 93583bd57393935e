"""Engines that come with srcache, one per file or folder; found through entry points, never imported by the core."""
