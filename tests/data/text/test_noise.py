from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch

from metaweight.core.plain_text import same
from metaweight.data.text.bitext import Bitext
from metaweight.data.text.noise import MIXES, corrupt_bitext, deal, largest_remainder, parse_mix
from metaweight.data.text.noise_kinds import text_noises

N = 400
TEXT = Bitext(
    tuple(f"the {n} old cats sleep" for n in range(N)),
    tuple(f"die {n} alten Katzen schlafen" for n in range(N)),
)
FOREIGN = tuple(f"les {n} vieux chats dorment" for n in range(N))
OTHER = Bitext(tuple(f"clause {n}" for n in range(30)), tuple(f"Klausel {n}" for n in range(30)))


def g(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spoil(mix, *, text=TEXT, rate=0.5, seed=0, foreign=FOREIGN, **options):
    if len(text) != len(foreign or text):
        foreign = None
    return corrupt_bitext(
        text, mix, rate=rate, generator=g(seed), foreign=foreign, out_of_domain=OTHER, **options
    )


def spoilt(noisy, text=TEXT):
    """(source, right target, given target) of the corrupted pairs."""
    chosen = noisy.kind.nonzero().flatten().tolist()
    return [(noisy.bitext.source[n], text.target[n], noisy.bitext.target[n]) for n in chosen]


def test_a_mix_is_parsed_into_shares():
    assert parse_mix("misaligned*2+copied+truncated") == {
        "misaligned": 0.5,
        "copied": 0.25,
        "truncated": 0.25,
    }
    assert parse_mix("mixed") == parse_mix(" misaligned * 2 + copied + truncated ")
    assert dict(parse_mix("all")) == dict.fromkeys(MIXES["all"].split("+"), 1 / 6)
    assert set(parse_mix("all")) | {"out-of-domain"} == set(text_noises.names())
    assert parse_mix("none") == {}
    assert parse_mix("copied*0.5") == {"copied": 1.0}


@pytest.mark.parametrize(
    ("mix", "error", "hint"),
    [
        ("misalined*2", KeyError, "Did you mean 'misaligned'"),
        ("mixt", KeyError, "Did you mean 'mixed'"),
        ("copied+", KeyError, "unknown noise ''"),
        ("mixed+copied", KeyError, "'mixed' stands for 'misaligned"),
        ("copied+copied", ValueError, "twice"),
        ("copied*x", ValueError, "'x'"),
        ("copied*", ValueError, "''"),
        ("copied*-1", ValueError, "above 0"),
        ("copied*nan", ValueError, "above 0"),
        ({"copied": 0.0}, ValueError, "above 0"),
        ({"copyed": 1.0}, KeyError, "Did you mean 'copied'"),
    ],
)
def test_a_wrong_mix_names_the_mistake(mix, error, hint):
    with pytest.raises(error, match=hint.replace("*", r"\*")):
        spoil(mix)


@pytest.mark.parametrize("kind", text_noises.names())
@pytest.mark.parametrize("rate", [0.0, 0.013, 0.4, 1.0])
def test_exactly_the_asked_share_is_spoilt_and_nothing_else_touched(kind, rate):
    noisy = spoil(kind, rate=rate)
    assert int(noisy.kind.count_nonzero()) == round(rate * N) == int(noisy.flipped.sum())
    assert noisy.nominal == rate
    assert noisy.realised == round(rate * N) / N
    assert noisy.kinds == (kind,)
    for n in range(N):
        same = (noisy.bitext.source[n], noisy.bitext.target[n]) == (TEXT.source[n], TEXT.target[n])
        assert same is (noisy.kind[n] == 0).item() is not bool(noisy.flipped[n])


def test_every_kind_does_what_its_name_says():
    for source, right, given in spoilt(spoil("copied")):
        assert given == source != right
    for _, right, given in spoilt(spoil("doubled")):
        assert given == f"{right} {right}"
    kept = Counter()
    for _, right, given in spoilt(spoil("truncated", rate=1.0)):
        assert right.startswith(given + " ")
        kept[len(given.split())] += 1
    assert set(kept) == {2, 3}  # 30 to 70 % of five words are 1.5 to 3.5
    for _, right, given in spoilt(spoil("shuffled")):
        assert sorted(given.split()) == sorted(right.split())
        assert given != right
    noisy = spoil("wrong-language")
    assert all(noisy.bitext.target[n] == FOREIGN[n] for n in noisy.kind.nonzero().flatten())
    for source, _, given in spoilt(spoil("out-of-domain")):
        assert (source, given) in set(zip(OTHER.source, OTHER.target, strict=True))


@pytest.mark.parametrize("rate", [1.0, 0.3, 2 / N])
def test_misaligned_targets_are_a_derangement_of_the_chosen_ones(rate):
    trios = spoilt(spoil("misaligned", rate=rate))
    assert Counter(right for _, right, _ in trios) == Counter(given for _, _, given in trios)
    assert all(right != given for _, right, given in trios)


def test_misaligned_leaves_no_equal_target_even_where_half_of_them_are_equal():
    text = Bitext(tuple(map(str, range(10))), ("a",) * 5 + ("b", "b", "c", "d", "e"))
    for seed in range(50):
        trios = spoilt(spoil("misaligned", text=text, rate=1.0, seed=seed), text)
        assert Counter(given for _, _, given in trios) == Counter(text.target)
        assert all(right != given for _, right, given in trios)


def test_misaligned_borrows_a_target_where_the_chosen_ones_have_no_derangement():
    text = Bitext(tuple(map(str, range(8))), ("a",) * 6 + ("b", "c"))
    assert spoil("misaligned", text=text, rate=1.0).realised == 1.0
    assert spoil("misaligned", rate=1 / N).flipped.sum() == 1  # a single pair
    with pytest.raises(ValueError, match="no choice"):
        spoil("misaligned", text=Bitext(("1", "2"), ("a", "a")), rate=0.5)


def test_misaligned_goes_to_any_other_pair():
    """Of 4 different targets the 6 cycles are equally likely."""
    text = Bitext(("0", "1", "2", "3"), ("a", "b", "c", "d"))
    count = Counter(spoil("misaligned", text=text, rate=1.0, seed=seed).bitext.target for seed in range(600))
    assert len(count) == 6
    assert all(abs(n - 100) < 5 * (600 * 5 / 36) ** 0.5 for n in count.values())


def test_a_pool_of_foreign_sentences_is_drawn_from_without_alignment():
    pool = ("oui", "non", TEXT.target[0])
    noisy = corrupt_bitext(
        TEXT, "wrong-language", rate=1.0, generator=g(), foreign=pool, foreign_aligned=False
    )
    assert set(noisy.bitext.target) == set(pool)
    assert noisy.bitext.target[0] != TEXT.target[0]


def test_out_of_domain_uses_every_other_pair_once_before_any_twice():
    count = Counter(source for source, _, _ in spoilt(spoil("out-of-domain", rate=75 / N)))
    assert len(count) == 30
    assert sorted(set(count.values())) == [2, 3]


def test_out_of_domain_never_gives_a_pair_back_to_itself():
    noisy = corrupt_bitext(OTHER, "out-of-domain", rate=1.0, generator=g(), out_of_domain=OTHER)
    assert noisy.realised == 1.0


def test_the_kinds_have_their_shares():
    noisy = spoil("misaligned*2+copied+truncated", rate=0.25)
    assert torch.bincount(noisy.kind).tolist() == [300, 50, 25, 25]
    assert noisy.kinds == ("misaligned", "copied", "truncated")
    assert torch.bincount(spoil("all", rate=0.1).kind).tolist() == [360, 7, 7, 7, 7, 6, 6]


def test_largest_remainder():
    assert largest_remainder(10, [0.3, 0.3, 0.4]) == [3, 3, 4]
    assert largest_remainder(7, [0.5, 0.25, 0.25]) == [3, 2, 2]
    assert largest_remainder(1, [0.2, 0.5, 0.3]) == [0, 1, 0]
    assert largest_remainder(0, [1.0]) == [0]


def test_pairs_that_a_kind_cannot_spoil_go_to_another():
    """Half of the targets have one word, and half of the others equal their source."""
    text = Bitext(
        tuple(f"{n}" if n % 2 else f"{n} x" for n in range(100)),
        tuple(f"w{n}" if n % 2 else (f"{n} x" if n % 4 else f"{n} y") for n in range(100)),
    )
    for seed in range(20):
        noisy = spoil({"copied": 1.0, "truncated": 1.0}, text=text, rate=1.0, seed=seed)
        assert noisy.realised == 1.0
        assert torch.bincount(noisy.kind).tolist() == [0, 50, 50]
        assert {int(kind) for kind in noisy.kind[1::2]} == {1}
    assert spoil("truncated", text=text, rate=0.5).kind[::2].all()  # the only ones that can be cut
    with pytest.raises(ValueError, match=r"truncated 51 \(can: 50\)"):
        spoil("truncated", text=text, rate=0.51)


def test_dealing_finds_a_way_wherever_there_is_one():
    """Against brute force over all assignments of 5 pairs to 3 kinds, on every kind of pattern."""
    generator = g(3)
    patterns = [tuple(k for k in range(3) if mask >> k & 1) for mask in range(8)]
    outcomes = Counter()
    for _ in range(400):
        fitting = [patterns[n] for n in torch.randint(8, (5,), generator=generator)]
        counts = torch.randint(3, (3,), generator=generator).tolist()
        possible = any(
            [places.count(k) for k in range(3)] == counts
            for places in itertools.product(*[(-1, *kinds) for kinds in fitting])
        )
        outcomes[possible] += 1
        if possible:
            dealt = deal(fitting, counts, names="abc", generator=generator)
            assert [len(positions) for positions in dealt] == counts
            assert len(set(itertools.chain(*dealt))) == sum(counts)
            assert all(k in fitting[n] for k, positions in enumerate(dealt) for n in positions)
        else:
            with pytest.raises(ValueError, match="no choice among 5 pairs"):
                deal(fitting, counts, names="abc", generator=generator)
    assert min(outcomes.values()) > 50


def test_every_pair_is_as_likely_to_be_chosen():
    count = sum((spoil("mixed", rate=0.3, seed=seed).kind > 0).double() for seed in range(100))
    assert float((count - 30).abs().max()) < 5 * (100 * 0.3 * 0.7) ** 0.5


def test_the_generator_decides_everything():
    first, again, other = (spoil("all", seed=seed) for seed in (1, 1, 2))
    assert first.bitext == again.bitext
    assert torch.equal(first.kind, again.kind)
    assert not torch.equal(first.kind, other.kind)


@pytest.mark.parametrize(("mix", "rate"), [("none", 0.4), ({}, 1.0), ("all", 0.0), ("all", 0.4 / N)])
def test_no_noise_leaves_the_text_as_it_is(mix, rate):
    noisy = spoil(mix, rate=rate)
    assert noisy.bitext == TEXT
    assert not noisy.kind.any()
    assert not noisy.flipped.any()
    assert noisy.realised == 0
    assert noisy.nominal == (rate if mix == "all" else 0)


def test_a_text_without_pairs_has_no_noise():
    noisy = corrupt_bitext(Bitext((), ()), "copied", rate=0.5, generator=g())
    assert (len(noisy.bitext), noisy.realised) == (0, 0)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"rate": 1.5}, "between 0 and 1"),
        ({"rate": float("nan")}, "between 0 and 1"),
        ({"mix": "wrong-language"}, "foreign="),
        ({"mix": "wrong-language", "foreign": (), "foreign_aligned": False}, "foreign="),
        ({"mix": "wrong-language", "foreign": ("a",)}, "400 pairs but 1 foreign"),
        ({"mix": "out-of-domain"}, "out_of_domain="),
    ],
)
def test_mistakes_are_errors(options, hint):
    with pytest.raises(ValueError, match=hint):
        corrupt_bitext(TEXT, **{"mix": "copied", "rate": 0.5, "generator": g(), **options})


def test_noise_makes_no_pair_that_says_the_same():
    """White space of another kind and characters that show nothing are no difference."""
    pairs = Bitext(("a b", "c d", "e f"), ("a\u00a0b", "c\u200b d", "\u200b"))
    with pytest.raises(ValueError, match=r"copied 3 \(can: 1\)"):
        corrupt_bitext(pairs, "copied", rate=1.0, generator=g())
    with pytest.raises(ValueError, match=r"doubled 3 \(can: 2\)"):
        corrupt_bitext(pairs, "doubled", rate=1.0, generator=g())
    alike = Bitext(("a", "b", "c"), ("x y", "x\u00a0y", "z"))
    made = corrupt_bitext(alike, "misaligned", rate=1.0, generator=g())
    assert not any(same(*sides) for sides in zip(made.bitext.target, alike.target, strict=True))
