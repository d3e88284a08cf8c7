"""Which tokenizer BLEU cuts a language with, and what it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.utils import SACREBLEU_DIR

from metaweight.core.registry import did_you_mean

DEFAULT = "13a"
_LANGUAGES: Mapping[str, tuple[str, ...]] = {
    "zh": ("zh", "zho", "chi", "cmn", "yue", "wuu", "chinese"),
    "ja-mecab": ("ja", "jpn", "japanese"),
    "ko-mecab": ("ko", "kor", "korean"),
    # no spaces between words, and no tokenizer of their own: a sentence would be one word of 13a
    "char": (
        *("th", "tha", "thai", "lo", "lao", "km", "khm", "khmer", "my", "mya", "bur", "burmese"),
        *("bo", "bod", "tib", "tibetan", "dz", "dzo", "dzongkha"),
    ),
}
_SCRIPTS: Mapping[str, re.Pattern[str]] = {
    "zh": re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]"),
    "ja-mecab": re.compile("[\u3041-\u309f\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9d]"),
    "ko-mecab": re.compile("[\uac00-\ud7a3\u1100-\u11ff\u3131-\u318e]"),
    "char": re.compile("[\u0e01-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f]"),
}
"""Tokenizer -> characters of the scripts that it is for."""
SHARE = 0.2
"""Of the letters that are of one script, from which on a text counts as written in it: a character of these
scripts says as much as several Latin letters, and names stay Latin."""
KANA = 0.1
"""Share of kana among Han and kana, from which on a text is Japanese."""
_INSTALL = {"ja-mecab": "ja", "ko-mecab": "ko"}


@dataclass(frozen=True)
class Tokenizer:
    """One of sacrebleu's, by name, and why it is the one."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})"


def tokenizer_of(
    references: Sequence[str], *, language: str | None = None, asked: str | None = None
) -> Tokenizer:
    """The one that was ``asked`` for, else the target language's, else that of the references' script.

    As sacrebleu has it for a known language: zh for Chinese, ja-mecab for Japanese, ko-mecab for Korean, 13a
    for others; and char for scripts without spaces (Thai, Lao, Khmer, Burmese, Tibetan), which 13a does not
    cut.  ``language``: a code or a name (``zh``, ``zh_Hant``, ``jpn``, ``Korean``); what is none of these
    languages is left to the script.  Raises ValueError for an unknown tokenizer.
    """
    if asked is not None:
        if asked not in BLEU.TOKENIZERS:
            raise ValueError(f"unknown BLEU tokenizer {asked!r}.{did_you_mean(asked, BLEU.TOKENIZERS)}")
        return Tokenizer(asked, "as asked")
    tag = re.split("[-_ ]", (language or "").strip().lower())[0]
    for name, tags in _LANGUAGES.items():
        if tag in tags:
            return Tokenizer(name, f"by the target language, {language}")
    return Tokenizer(_of_script(references), "by the script of the references")


def _of_script(references: Sequence[str]) -> str:
    text = "".join(references)
    counts = {name: len(script.findall(text)) for name, script in _SCRIPTS.items()}
    if counts["ja-mecab"] >= KANA * (counts["zh"] + counts["ja-mecab"]):
        counts["ja-mecab"] += counts.pop("zh")
    letters = max(sum(map(str.isalpha, text)), sum(counts.values()))
    name = max(counts, key=counts.__getitem__)
    return name if counts[name] and counts[name] >= SHARE * letters else DEFAULT


def bleu_with(tokenize: str) -> BLEU:
    """sacrebleu's BLEU with the tokenizer ``tokenize``.

    Raises ValueError for an unknown one, and where what it needs is not there, with what to install.
    """
    tokenizer_of((), asked=tokenize)
    try:
        return BLEU(tokenize=tokenize)
    # sacrebleu's own ways to say so, MeCab's, and those of a download; its SSL error ends the process
    except (RuntimeError, ImportError, OSError, AssertionError, SystemExit) as error:
        raise ValueError(f"BLEU's tokenizer {tokenize} {_wanting(tokenize, error)}") from error


def _wanting(tokenize: str, error: BaseException) -> str:
    extra = _INSTALL.get(tokenize)
    other = "or choose another, as --tokenize char"
    if extra is not None:
        return f'needs MeCab and its dictionary: pip install "sacrebleu[{extra}]", {other}'
    if tokenize in ("spm", "flores101", "flores200", "spBLEU-1K"):
        return (
            f"needs a model that sacrebleu downloads once into {SACREBLEU_DIR}/models, which failed "
            f"({error}): go online for that, copy the folder from where it is, {other}"
        )
    return f"does not start ({error}): {other}"
