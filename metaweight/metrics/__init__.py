"""Figures that say how good a student is and what its weights found."""
