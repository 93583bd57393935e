"""Data only: the recipes that come with srcache."""
