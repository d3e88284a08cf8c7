"""Labelled tokens: from sentences with wrong labels to a tagger and its weights."""
