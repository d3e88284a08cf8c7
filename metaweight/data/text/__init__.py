"""Text for translation: sentence pairs, where they come from, and what may be wrong with them."""

from metaweight.data.text.bitext import Bitext
from metaweight.data.text.cldr import CldrText, cldr_text
from metaweight.data.text.components import components, require_disjoint, shared_sentences, split_by_component
from metaweight.data.text.files import read_bitext, read_lines, read_splits
from metaweight.data.text.filtering import Filtered, filter_bitext
from metaweight.data.text.hub_text import load_hub_text
from metaweight.data.text.loader import TextLoader
from metaweight.data.text.noise import NoisyBitext, corrupt_bitext, parse_mix
from metaweight.data.text.request import TextRequest
from metaweight.data.text.sets import load_text, texts
from metaweight.data.text.text_set import TextSet
from metaweight.data.text.vocabulary import Vocabularies, Vocabulary, train_vocabularies, train_vocabulary

__all__ = [
    "Bitext",
    "CldrText",
    "Filtered",
    "NoisyBitext",
    "TextLoader",
    "TextRequest",
    "TextSet",
    "Vocabularies",
    "Vocabulary",
    "cldr_text",
    "components",
    "corrupt_bitext",
    "filter_bitext",
    "load_hub_text",
    "load_text",
    "parse_mix",
    "read_bitext",
    "read_lines",
    "read_splits",
    "require_disjoint",
    "shared_sentences",
    "split_by_component",
    "texts",
    "train_vocabularies",
    "train_vocabulary",
]
