"""`srcache view`: the images of a cache as a gallery, served on loopback or written as one HTML file; reads only."""
