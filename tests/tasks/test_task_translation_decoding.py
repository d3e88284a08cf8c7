"""From sentences to translations: order, empty lines, n-best, long sources, batches that change nothing."""

from __future__ import annotations

import pytest
import torch
from slowly import slowly
from tiny_translation import pairs

from metaweight.data.text import Bitext, Vocabularies, train_vocabularies
from metaweight.data.text.vocabulary import EOS
from metaweight.models.beam_search import beam_search
from metaweight.models.transformer import Transformer
from metaweight.tasks.translation.decoding import one_line, translate

Made = tuple[Transformer, Vocabularies]


@pytest.fixture(scope="module")
def made() -> Made:
    """A student without training, in double: no two hypotheses score alike."""
    source, target = zip(*pairs(0, 60), strict=True)
    vocabularies = train_vocabularies(Bitext(source, target), 40, model="bpe")
    torch.manual_seed(3)
    module = Transformer(
        40, 40, width=16, heads=2, feedforward=32, encoder_layers=1, decoder_layers=1, dropout=0.5
    )
    for parameter in module.parameters():
        parameter.data.mul_(3)  # logits that differ more
    return module.double(), vocabularies


def sentences(count: int) -> list[str]:
    """Of different lengths, in no order of them."""
    return [
        " ".join(source.split()[: 1 + (5 * n) % 7]) for n, (source, _) in enumerate(pairs(60, 60 + count))
    ]


def alone(made: Made, sentence: str, **options: int) -> list[tuple[str, float]]:
    """The search called by hand on one sentence without padding."""
    module, vocabularies = made
    (pieces,) = vocabularies.source.encode([sentence])
    (found,) = beam_search(module, torch.tensor([[*pieces, EOS]]), **options)
    return [(vocabularies.target.decode([h.tokens])[0], h.score) for h in found]


def test_every_line_gets_its_own_translation_in_order(made: Made) -> None:
    lines = sentences(12)
    found = translate(*made, lines, beam=3)
    assert [best[0][0] for best in found] == [alone(made, line, beam=3)[0][0] for line in lines]
    assert len({best[0][0] for best in found}) > 6  # else the order would not matter


@pytest.mark.parametrize("tokens", [20, 10_000, *slowly(1)])
def test_batches_change_nothing(made: Made, tokens: int) -> None:
    lines = sentences(12)
    expected = [alone(made, line, beam=3, nbest=3) for line in lines]
    found = translate(*made, lines, beam=3, nbest=3, batch_tokens=tokens)
    for got, wanted in zip(found, expected, strict=True):
        assert [text for text, _ in got] == [text for text, _ in wanted]
        assert [score for _, score in got] == pytest.approx([score for _, score in wanted], abs=1e-9)


def test_an_empty_line_stays_empty(made: Made) -> None:
    first, last = sentences(2)
    found = translate(*made, ["", first, "  ", last, ""], beam=2)
    assert [found[line] for line in (0, 2, 4)] == [[("", 0.0)]] * 3
    assert [found[1], found[3]] == translate(*made, [first, last], beam=2)
    assert translate(*made, []) == []
    assert translate(*made, [""], nbest=2) == [[("", 0.0)]]


def test_nbest_is_best_first_and_its_first_is_the_best(made: Made) -> None:
    lines = sentences(6)
    several = translate(*made, lines, beam=4, nbest=4)
    for best, only in zip(several, translate(*made, lines, beam=4), strict=True):
        scores = [score for _, score in best]
        assert 1 < len(best) <= 4
        assert scores == sorted(scores, reverse=True)
        assert only == best[:1]
    with pytest.raises(ValueError, match=r"nbest is 1\.\.beam, got nbest 5 and beam 4"):
        translate(*made, lines, beam=4, nbest=5)


def test_options_reach_the_search(made: Made) -> None:
    lines = sentences(4)
    for options in ({"beam": 1}, {"beam": 3, "length_penalty": 0.0}):
        found = translate(*made, lines, **options)
        wanted = [alone(made, line, **options) for line in lines]
        assert [best[0][0] for best in found] == [best[0][0] for best in wanted]
        assert [best[0][1] for best in found] == pytest.approx([best[0][1] for best in wanted], abs=1e-9)


def test_a_source_that_is_too_long_is_named_before_anything_is_translated(made: Made) -> None:
    module, vocabularies = made
    short, long = "rot", "rot blau " * 40
    (pieces,) = vocabularies.source.encode([long])
    with pytest.raises(ValueError, match=rf"line 2 has {len(pieces)} pieces, more than max_source=30"):
        translate(module, vocabularies, [short, long], max_source=30)
    assert translate(module, vocabularies, [long], beam=1, max_source=len(pieces))[0]


def test_the_module_keeps_its_mode_and_the_generators_their_state(made: Made) -> None:
    module, vocabularies = made
    module.train()
    before = torch.get_rng_state()
    found = translate(module, vocabularies, sentences(3), beam=2)
    assert module.training
    assert torch.equal(torch.get_rng_state(), before)
    module.eval()
    assert translate(module, vocabularies, sentences(3), beam=2) == found


def test_a_text_is_one_line_of_a_file() -> None:
    assert one_line("a\nb\r\nc\u2028d\x85e") == "a b c d e"
    assert one_line("a b ") == "a b "
    assert one_line("") == ""
