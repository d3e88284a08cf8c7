"""Labelled texts: from a column of text with wrong labels to a student and its weights."""
