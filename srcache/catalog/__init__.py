"""Catalogs: which images there are in a folder, a CSV file or a data set, with their keys, names and labels."""

from srcache.catalog.listing import Problem as Problem
from srcache.catalog.parts import Part as Part
from srcache.catalog.rows import Catalog as Catalog
from srcache.catalog.rows import Row as Row
from srcache.catalog.scanned import write_scanned as write_scanned
from srcache.catalog.scanning import from_dataset as from_dataset
from srcache.catalog.scanning import open_catalog as open_catalog
from srcache.catalog.scanning import scan as scan
