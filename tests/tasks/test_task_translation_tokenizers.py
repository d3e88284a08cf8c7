"""BLEU's tokenizer follows the target language, and what it lacks is said before a run starts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import sacrebleu
from tiny_translation import Files, config, own_files, words

from metaweight.cli.main import main
from metaweight.tasks import tasks
from metaweight.tasks.translation import tokenizers
from metaweight.tasks.translation.bleu import score
from metaweight.tasks.translation.tokenizers import bleu_with, tokenizer_of

ZH = ["我们今天去北京大学学习中文。", "他昨天买了一本很新的书。"]
TEXTS = {
    "zh": ZH,
    "ja-mecab": ["今日は学校に行きます。", "新しい本を読みました。"],
    "ko-mecab": ["오늘 학교에 갑니다.", "새 책을 읽었습니다."],
    "char": ["วันนี้ฉันไปโรงเรียน", "ມື້ນີ້ຂ້ອຍໄປໂຮງຮຽນ", "ယနေ့ကျောင်းသွားတယ်"],
    "13a": ["Heute gehe ich zur Schule.", "Сегодня я иду в школу.", "היום אני הולך", "۱۲ آج میں جاتا ہوں"],
}


@pytest.mark.parametrize(
    ("language", "name"),
    [
        *(
            ("zh", "zh"),
            ("zh-CN", "zh"),
            ("zh_Hant_TW", "zh"),
            ("ZHO", "zh"),
            ("cmn", "zh"),
            ("Chinese", "zh"),
        ),
        *(("ja", "ja-mecab"), ("jpn_Jpan", "ja-mecab"), ("ko", "ko-mecab"), ("kor-KR", "ko-mecab")),
        *(("th", "char"), ("lo", "char"), ("km", "char"), ("my-MM", "char"), ("bo", "char")),
        *(("de", "13a"), ("en", "13a"), ("target", "13a"), ("", "13a"), (None, "13a"), ("zhx", "13a")),
    ],
)
def test_the_language_names_the_tokenizer(language: str | None, name: str) -> None:
    found = tokenizer_of(["a plain line"], language=language)
    assert found.name == name
    assert ("target language" in found.reason) == (name != "13a")


@pytest.mark.parametrize("language", ["zh", "ja", "ko", "de", "th-x"])
def test_known_languages_have_the_tokenizer_that_sacrebleu_gives_them(language: str) -> None:
    theirs = sacrebleu.BLEU._TOKENIZER_MAP.get(language, sacrebleu.BLEU.TOKENIZER_DEFAULT)
    assert tokenizer_of([], language=language).name == ("char" if language == "th-x" else theirs)


@pytest.mark.parametrize("name", list(TEXTS))
def test_without_a_language_the_script_of_the_references_does(name: str) -> None:
    found = tokenizer_of(TEXTS[name])
    assert (found.name, found.reason) == (name, "by the script of the references")
    # names of firms stay Latin, and numbers are of no script
    assert tokenizer_of([f"{line} 123,456 IBM" for line in TEXTS[name]]).name == name
    assert tokenizer_of(TEXTS[name], asked="intl").name == "intl"


def test_a_word_of_another_script_changes_nothing() -> None:
    assert tokenizer_of(["The word 猫 means cat, and 犬 means dog, in both languages."]).name == "13a"
    assert tokenizer_of(["", "123", "!?"]).name == "13a"
    assert tokenizer_of([]).name == "13a"


def test_a_chinese_score_is_that_of_sacrebleu_for_chinese() -> None:
    hypotheses = ["我们今天去北京的大学学习中文。", "他昨天买了一本新书。"]
    found = score(hypotheses, ZH, tokenize=tokenizer_of(ZH).name)
    assert found.bleu == sacrebleu.corpus_bleu(hypotheses, [ZH], tokenize="zh").score > 40
    assert "|tok:zh|" in found.bleu_signature


def test_a_line_that_shows_nothing_has_no_tokens() -> None:
    blank = score(["a b c d", "\u200b", " \u3000"], ["a b c d", "e f g h", "\ufeff"])
    empty = score(["a b c d", "", ""], ["a b c d", "e f g h", ""])
    assert blank == empty
    assert (blank.blank_hypotheses, blank.blank_references) == (2, 1)


def test_what_a_tokenizer_lacks_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for language, name in (("ja", "ja-mecab"), ("ko", "ko-mecab")):
        module = importlib.import_module(f"sacrebleu.tokenizers.tokenizer_{language}_mecab")
        monkeypatch.setattr(module, "MeCab", None)
        with pytest.raises(
            ValueError, match=rf'{name} needs MeCab .*pip install "sacrebleu\[{language}\]", or'
        ):
            bleu_with(name)

    def offline(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    spm = importlib.import_module("sacrebleu.tokenizers.tokenizer_spm")
    monkeypatch.setattr(spm, "download_file", offline)
    monkeypatch.setattr(spm, "SACREBLEU_DIR", "/nowhere")
    with pytest.raises(
        ValueError, match=r"flores200 needs a model .*Name or service not known.*--tokenize char"
    ):
        bleu_with("flores200")
    monkeypatch.setattr(spm, "download_file", lambda *_: sys.exit(1))
    with pytest.raises(ValueError, match="flores200 needs a model"):
        bleu_with("flores200")


@pytest.fixture
def no_mecab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("sacrebleu.tokenizers.tokenizer_ja_mecab"), "MeCab", None)


def japanese(files: Files) -> list[str]:
    """The files' options, with targets in kana."""
    for path in files.values():
        text = path.read_text(encoding="utf-8")
        for german, kana in (("red", "あか"), ("blue", "あお"), ("yellow", "きいろ"), ("white", "しろい")):
            text = text.replace(german, kana)
        path.write_text(text, encoding="utf-8")
    return [word for name, path in files.items() for word in (f"--{name}", str(path))]


@pytest.mark.usefixtures("no_mecab")
@pytest.mark.parametrize("command", ["train", "compare"])
def test_a_run_without_its_tokenizer_does_not_start(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = japanese(own_files(tmp_path))
    out = tmp_path / "out"
    assert main([command, "--task", "translation", *given, "--vocab-size", "24", "--out", str(out)]) == 2
    assert 'ja-mecab needs MeCab and its dictionary: pip install "sacrebleu[ja]"' in words(capsys)
    assert not out.exists()


@pytest.mark.usefixtures("no_mecab")
def test_score_says_what_to_install(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ja.txt"
    file.write_text("本を読みます\n", encoding="utf-8")
    for how in (["--tokenize", "ja-mecab"], ["--language", "ja"], []):
        assert main(["score", *how, str(file), str(file)]) == 2
        said = words(capsys)
        assert 'pip install "sacrebleu[ja]"' in said
        assert "Traceback" not in said
    assert main(["score", "--tokenize", "char", str(file), str(file)]) == 0
    assert "tok:char" in words(capsys)


def test_score_says_the_tokenizer_and_the_blank_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = tmp_path / "h.txt", tmp_path / "r.txt"
    one.write_text("\n".join([ZH[0], ""]) + "\n", encoding="utf-8")
    other.write_text("\n".join(ZH) + "\n", encoding="utf-8")
    assert main(["score", str(one), str(other)]) == 0
    said = words(capsys)
    assert "tok:zh" in said
    assert "by the script of the references" in said
    assert "lines that show nothing" in said


def test_an_unknown_tokenizer_of_a_run_is_named_before_data_are_read() -> None:
    with pytest.raises(ValueError, match=r"unknown BLEU tokenizer 'zhh'\. Did you mean 'zh'"):
        tasks["translation"].check(config("nowhere", tokenize="zhh"))
    assert tokenizers.DEFAULT == "13a"
