"""Plug-ins that come with srcache: engines, found through entry points, and joins to training frameworks.

One per file or folder; the core never imports them.
"""
