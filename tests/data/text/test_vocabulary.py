from __future__ import annotations

import copy
import pickle
import random
import subprocess
import sys
import unicodedata

import pytest
import sentencepiece

from metaweight.data.text.bitext import Bitext
from metaweight.data.text.vocabulary import Vocabularies, Vocabulary, train_vocabularies, train_vocabulary


def sentences(letters: str, count: int = 200) -> tuple[str, ...]:
    """Lines of invented words, some common and some rare: enough text for more than 100 pieces."""
    draw = random.Random(letters)
    words = ["".join(draw.choices(letters, k=draw.randrange(1, 9))) for _ in range(200)]
    weights = [1 / (1 + rank) for rank in range(len(words))]
    return tuple(" ".join(draw.choices(words, weights, k=draw.randrange(3, 9))) + "." for _ in range(count))


BITEXT = Bitext(sentences("abcdefghilmnoprstuäöüßAH17"), sentences("abcdefghilmnoprstuw'17"))
# no-break spaces, signs that NFKC would take apart, a decomposed é, an emoji, a tab
ODD = ("1\u00a0000\u202f€ … ½ ﬁ ™ „so“", "e\u0301 und é", "\u200bnull\ufeffbreit", "😀 🇩🇪", "tab\there")
MODELS = ["unigram", "bpe"]
BOTH = pytest.mark.parametrize("model", MODELS)


@BOTH
def test_text_comes_back_to_the_last_character(model):
    vocabulary = train_vocabulary((*BITEXT.source, *ODD), 150, model=model)
    text = [*BITEXT.source[:50], *ODD, ""]
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert ids[-1] == []
    assert all(0 < i < 150 and i not in (2, 3) for row in ids for i in row)
    assert any(unicodedata.normalize("NFKC", line) != line for line in ODD)


@BOTH
def test_ids_and_size_are_as_agreed_and_as_sentencepiece_reads_them(model):
    vocabulary = train_vocabulary(BITEXT.source, 90, model=model)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=vocabulary.model)
    assert len(vocabulary) == len(theirs) == 90
    assert [theirs.pad_id(), theirs.unk_id(), theirs.bos_id(), theirs.eos_id()] == [0, 1, 2, 3]
    assert vocabulary.encode(BITEXT.source) == theirs.encode(list(BITEXT.source))


def test_decoding_skips_padding_bos_and_eos_and_shows_the_unknown():
    vocabulary = train_vocabulary(BITEXT.source, 90)
    ids = vocabulary.encode(["einhaus"])[0]
    assert vocabulary.decode([[2, *ids, 3, 0, 0], ids, [2, 3], []]) == ["einhaus", "einhaus", "", ""]
    assert vocabulary.decode([[0, 0, *ids, 3, 2, *ids]]) == ["einhaus einhaus"]
    assert 1 in vocabulary.encode(["Жук"])[0]
    assert "⁇" in vocabulary.decode([[1]])[0]
    for number in (90, -1):
        with pytest.raises(IndexError, match=f"id {number} is outside a vocabulary of 90 pieces"):
            vocabulary.decode([[5, number]])


def test_byte_fallback_spells_what_it_never_saw():
    vocabulary = train_vocabulary(BITEXT.source, 340, byte_fallback=True)
    ids = vocabulary.encode(["Жук 😀"])
    assert 1 not in ids[0]
    assert vocabulary.decode(ids) == ["Жук 😀"]


def test_less_coverage_leaves_rare_characters_out():
    text = (*BITEXT.source * 20, "ж")
    assert 1 not in train_vocabulary(text, 80).encode(["ж"])[0]
    assert 1 in train_vocabulary(text, 80, character_coverage=0.999).encode(["ж"])[0]


@pytest.mark.slow
def test_equal_text_gives_an_equal_model_in_another_process_too():
    ours = b"".join(train_vocabulary(BITEXT.source, 90, model=model).model for model in MODELS)
    again = b"".join(train_vocabulary(iter(BITEXT.source), 90, model=model).model for model in MODELS)
    assert again == ours
    assert train_vocabulary(BITEXT.source[:-1], 90) != train_vocabulary(BITEXT.source, 90)
    code = (
        "import sys; from metaweight.data.text.vocabulary import train_vocabulary\n"
        f"for model in {MODELS}:\n"
        f"    sys.stdout.buffer.write(train_vocabulary({BITEXT.source!r}, 90, model=model).model)"
    )
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", code], capture_output=True, check=True)
    assert done.stdout == ours
    assert done.stderr == b""


def test_training_prints_nothing(capfd):
    train_vocabulary(BITEXT.source, 90)
    with pytest.raises(ValueError, match="vocab_size"):
        train_vocabulary(BITEXT.source, 9000)
    assert capfd.readouterr() == ("", "")


def test_a_long_sentence_counts():
    # SentencePiece itself leaves out what is longer than 4,192 bytes
    vocabulary = train_vocabulary([*BITEXT.source, "xyz " * 2000], 90)
    assert len(vocabulary.encode(["xyz"])[0]) == 1


@BOTH
def test_the_largest_size_that_the_error_names_works(model):
    with pytest.raises(ValueError, match="vocab_size 5000 is more than the text allows") as error:
        train_vocabulary(BITEXT.source, 5000, model=model)
    largest = int(str(error.value).split("use at most ")[1].split(",")[0])
    assert len(train_vocabulary(BITEXT.source, largest, model=model)) == largest
    with pytest.raises(ValueError, match=f"use at most {largest}"):
        train_vocabulary(BITEXT.source, largest + 1, model=model)


def test_text_without_a_size_gets_what_it_has() -> None:
    found = train_vocabularies(BITEXT, 0)
    with pytest.raises(ValueError, match="vocab_size 1500 is more than the text allows") as error:
        train_vocabularies(BITEXT, 1500)
    assert f"use at most {len(found.source)}," in str(error.value)
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=6)) for _ in range(3000)]
    much = Bitext(tuple(words), tuple(words))
    assert len(train_vocabularies(much, 0, model="bpe").source) == 1500


def test_the_smallest_size_that_the_error_names_works():
    with pytest.raises(ValueError, match="vocab_size 20 is too small") as error:
        train_vocabulary(BITEXT.source, 20)
    least = int(str(error.value).split("use at least ")[1].split(",")[0])
    assert len(train_vocabulary(BITEXT.source, least)) == least


@pytest.mark.parametrize(
    ("text", "options", "complaint"),
    [
        (BITEXT.source, {"size": 10}, "vocab_size 10 is too small: characters and special pieces alone are"),
        (BITEXT.source, {"byte_fallback": True}, "vocab_size 90 is too small"),
        (BITEXT.source, {"size": 0}, "vocab_size is more than the 4 special pieces, got 0"),
        (BITEXT.source, {"size": 4}, "vocab_size is more than the 4 special pieces, got 4"),
        ([], {}, "no sentence that is not empty"),
        (["", "  "], {}, "no sentence that is not empty"),
        (BITEXT.source, {"model": "bpo"}, r"unknown vocabulary model 'bpo'\. Did you mean 'bpe'"),
        (BITEXT.source, {"character_coverage": 0.0}, r"share in \(0, 1\], got 0.0"),
    ],
)
def test_bad_options_are_refused(text, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        train_vocabulary(text, **{"size": 90, **options})


def test_one_string_is_no_list_of_sentences():
    with pytest.raises(TypeError, match="one string"):
        train_vocabulary("ein Haus", 90)
    with pytest.raises(TypeError, match="one string"):
        train_vocabulary(BITEXT.source, 90).encode("ein Haus")


def test_a_saved_vocabulary_loads_equal(tmp_path):
    vocabulary = train_vocabulary(BITEXT.source, 90)
    vocabulary.save(tmp_path / "x.model")
    assert [file.name for file in tmp_path.iterdir()] == ["x.model"]
    for other in (
        Vocabulary.load(tmp_path / "x.model"),
        pickle.loads(pickle.dumps(vocabulary)),
        copy.deepcopy(vocabulary),
    ):
        assert other == vocabulary
        assert other.encode(BITEXT.source) == vocabulary.encode(BITEXT.source)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "x.model"))
    assert theirs.encode(BITEXT.source[0]) == vocabulary.encode(BITEXT.source[:1])[0]


def test_every_cut_and_every_changed_byte_is_seen():
    model = train_vocabulary(BITEXT.source, 90).model
    for length in range(len(model)):
        with pytest.raises(ValueError, match="damaged"):
            Vocabulary(model[:length])
    for place in range(0, len(model), 7):
        changed = bytearray(model)
        changed[place] ^= 1
        with pytest.raises(ValueError, match="damaged"):
            Vocabulary(bytes(changed))


def test_a_missing_or_damaged_file_is_named(tmp_path):
    path = tmp_path / "joint.model"
    with pytest.raises(FileNotFoundError, match=r"joint\.model is missing: it is kept with the run"):
        Vocabulary.load(path)
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"joint\.model: the SentencePiece model is damaged"):
        Vocabulary.load(path)


def test_joint_vocabularies_are_one_of_the_text_of_both_sides(tmp_path):
    pair = train_vocabularies(BITEXT, 120)
    assert pair.source is pair.target
    assert pair.source == train_vocabulary(BITEXT.source + BITEXT.target, 120)
    pair.save(tmp_path / "new" / "run")
    assert [file.name for file in (tmp_path / "new" / "run").iterdir()] == ["joint.model"]
    loaded = Vocabularies.load(tmp_path / "new" / "run")
    assert loaded == pair
    assert loaded.source is loaded.target


def test_separate_vocabularies_know_their_own_side(tmp_path):
    pair = train_vocabularies(BITEXT, 80, joint=False, model="bpe")
    assert pair.source == train_vocabulary(BITEXT.source, 80, model="bpe")
    assert pair.target == train_vocabulary(BITEXT.target, 80, model="bpe")
    pair.save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["source.model", "target.model"]
    assert Vocabularies.load(tmp_path) == pair
    options = {"byte_fallback": True, "character_coverage": 0.99}
    pair = train_vocabularies(BITEXT, 340, joint=False, **options)
    assert pair.target == train_vocabulary(BITEXT.target, 340, **options)
    with pytest.raises(ValueError, match="joint vocabulary is one for both sides"):
        Vocabularies(pair.source, pair.target, joint=True)


def test_a_folder_with_too_few_or_too_many_models_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"joint\.model is missing"):
        Vocabularies.load(tmp_path)
    train_vocabularies(BITEXT, 80, joint=False).save(tmp_path)
    (tmp_path / "target.model").unlink()
    with pytest.raises(FileNotFoundError, match=r"target\.model is missing"):
        Vocabularies.load(tmp_path)
    train_vocabularies(BITEXT, 80).save(tmp_path)
    with pytest.raises(ValueError, match=r"holds joint\.model and source\.model"):
        Vocabularies.load(tmp_path)


def test_text_of_short_sentences_has_a_vocabulary() -> None:
    own = train_vocabulary(["a b", "b c"], 20, at_most=True)
    assert own.decode(own.encode(["c a"])) == ["c a"]
