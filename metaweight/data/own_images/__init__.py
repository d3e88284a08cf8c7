"""A user's own pictures: folders, tables of paths, IDX files and data sets of the hub, as one image set."""

from metaweight.data.own_images.found import Wanted
from metaweight.data.own_images.loading import OwnImages, load_own

__all__ = ["OwnImages", "Wanted", "load_own"]
