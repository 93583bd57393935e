"""Which images there are: Catalog, Row, scan, from_dataset, open_catalog, Problem."""

from srcache.catalog.listing import Problem as Problem
from srcache.catalog.rows import Catalog as Catalog
from srcache.catalog.rows import Row as Row
from srcache.catalog.scanning import from_dataset as from_dataset
from srcache.catalog.scanning import open_catalog as open_catalog
from srcache.catalog.scanning import scan as scan
