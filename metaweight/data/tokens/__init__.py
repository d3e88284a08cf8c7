"""Sentences of labelled tokens: read from BIO files and tables, their labels as targets, tokens as ids."""

from metaweight.data.tokens.sentences import Sentence, as_sentences, read_sentences
from metaweight.data.tokens.targets import TokenTargets, read_labels

__all__ = ["Sentence", "TokenTargets", "as_sentences", "read_labels", "read_sentences"]
