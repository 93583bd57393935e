"""Data sets made from data sets: splits, LR copies, paired crops; and sample data sets without a download."""

from srcache.study.prepare.crops import CropSettings as CropSettings
from srcache.study.prepare.crops import make_crops as make_crops
from srcache.study.prepare.lr import Shrinking as Shrinking
from srcache.study.prepare.lr import make_lr as make_lr
from srcache.study.prepare.run import Prepared as Prepared
from srcache.study.prepare.samples import make_faces as make_faces
from srcache.study.prepare.samples import make_textures as make_textures
from srcache.study.prepare.split import make_split as make_split
