"""Rating: weights of rows that were never trained on, by the student and the teacher that a run left."""

from metaweight.tasks.rating.kept import RATER, keep_rater, load_rater, rater_of
from metaweight.tasks.rating.new import New, Reader
from metaweight.tasks.rating.rated import Rated
from metaweight.tasks.rating.rater import Rater

__all__ = ["RATER", "New", "Rated", "Rater", "Reader", "keep_rater", "load_rater", "rater_of"]
