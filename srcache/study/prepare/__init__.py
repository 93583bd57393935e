"""Data sets from data sets: make_split, make_lr, make_crops, make_textures, make_faces."""
