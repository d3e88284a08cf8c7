"""The Transformer against torch's own, its padding, its cache and the ways to differentiate it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp

import metaweight as mw
from metaweight.core.contracts import Batch
from metaweight.core.randomness import differentiable
from metaweight.models.attention import CrossAttention, SelfAttention
from metaweight.models.transformer import Transformer, sinusoids
from metaweight.models.translators import time_axes
from metaweight.student.losses import token_cross_entropy
from metaweight.student.student import Student

VOCABULARY = 13


def built(**options: object) -> Transformer:
    torch.manual_seed(0)
    shape = {"width": 16, "heads": 4, "encoder_layers": 2, "decoder_layers": 3, "feedforward": 24}
    model = Transformer(VOCABULARY, VOCABULARY, **{**shape, "dropout": 0.0, **options}).double()
    with torch.no_grad():  # biases and norms are no longer zeros and ones
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def sentences(lengths: list[int], *, seed: int, padding: int = 0) -> Tensor:
    """Ids [B, max(lengths) + padding]: random pieces, right-padded with 0."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, VOCABULARY, (len(lengths), max(lengths)), generator=g)
    beyond = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
    return nn.functional.pad(ids.masked_fill(beyond, 0), (0, padding))


def translation(*, padding: int = 0) -> Batch:
    """Five sentence pairs of different lengths, padded beyond the longest by ``padding`` ids."""
    source = sentences([6, 3, 5, 1, 4], seed=1, padding=padding)
    targets = sentences([2, 7, 4, 5, 1], seed=2, padding=padding)
    shifted = torch.cat([torch.full((5, 1), 2), targets[:, :-1]], dim=1)
    return Batch((source, shifted), targets, torch.arange(5))


def torch_transformer(model: Transformer, *, pre: bool, activation: str) -> nn.Transformer:
    """``torch.nn.Transformer`` with the weights of ``model``; post-norm without its final norms."""
    shape = (16, 4, 24, 0.0, activation)
    more = {"batch_first": True, "norm_first": pre}
    twin = nn.Transformer(
        16,
        4,
        custom_encoder=nn.TransformerEncoder(
            nn.TransformerEncoderLayer(*shape, **more),
            2,
            norm=nn.LayerNorm(16) if pre else None,
            enable_nested_tensor=False,
        ),
        custom_decoder=nn.TransformerDecoder(
            nn.TransformerDecoderLayer(*shape, **more), 3, norm=nn.LayerNorm(16) if pre else None
        ),
        batch_first=True,
    ).double()
    renamed = {
        "attend_self.project.weight": "self_attn.in_proj_weight",
        "attend_self.project.bias": "self_attn.in_proj_bias",
        "attend_self.output": "self_attn.out_proj",
        "attend_source.output": "multihead_attn.out_proj",
        "mlp.0": "linear1",
        "mlp.2": "linear2",
    }
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        norms = ["norm_self", "norm_mlp"] if "encoder" in name else ["norm_self", "norm_source", "norm_mlp"]
        for old, new in {**renamed, **{norm: f"norm{i}" for i, norm in enumerate(norms, 1)}}.items():
            name = name.replace(old, new)
        if "attend_source.query" in name:
            key = name.replace("query", "key_value")
            packed = torch.cat([value, model.state_dict()[key]])
            state[name.replace("attend_source.query.", "multihead_attn.in_proj_")] = packed
        elif not any(part in name for part in ("embedding", "head.", "key_value")):
            state[name] = value
    twin.load_state_dict(state)
    return twin


def positions_by_hand(length: int, width: int) -> Tensor:
    rows = [
        [f(t / 10_000 ** (2 * i / width)) for f in (math.sin, math.cos) for i in range(width // 2)]
        for t in range(length)
    ]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_equals_torch_with_copied_weights(norm: str, activation: str, training: bool) -> None:
    model = built(norm=norm, activation=activation, tie="none").train(training)
    twin = torch_transformer(model, pre=norm == "pre", activation=activation).train(training)
    batch = translation()
    source, shifted = batch.inputs

    def embed(table: nn.Embedding, ids: Tensor) -> Tensor:
        return table.weight[ids] * 4.0 + positions_by_hand(ids.shape[1], 16)

    hidden = twin(
        embed(model.encoder.embedding, source),
        embed(model.decoder.embedding, shifted),
        tgt_mask=torch.ones(shifted.shape[1], shifted.shape[1]).triu(1).bool(),
        src_key_padding_mask=source == 0,
        memory_key_padding_mask=source == 0,
        tgt_key_padding_mask=shifted == 0,
    )
    real = batch.targets != 0
    torch.testing.assert_close(
        model(source, shifted)[real], (hidden @ model.head.weight.T)[real], rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_amount_of_padding_moves_neither_loss_nor_gradients(norm: str) -> None:
    model = built(norm=norm)
    results = []
    for batch in (translation(), translation(padding=4)):
        losses, _ = token_cross_entropy(model(*batch.inputs), batch.targets)
        results.append([losses, *torch.autograd.grad(losses.mean(), list(model.parameters()))])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_a_sentence_does_not_see_the_others_of_its_batch() -> None:
    model, batch = built(), translation()
    logits = model(*batch.inputs)
    for i in range(5):
        source, shifted = (ids[i : i + 1, : int((ids[i] != 0).sum())] for ids in batch.inputs)
        alone = model(source, shifted)[0]
        torch.testing.assert_close(logits[i, : len(alone)], alone, rtol=0, atol=1e-12)


def test_a_position_does_not_see_what_follows() -> None:
    model = built()
    source, shifted = translation().inputs
    changed = shifted.clone()
    changed[:, 3:] = 4 + (changed[:, 3:] + 1) % 9
    before, after = model(source, shifted), model(source, changed)
    torch.testing.assert_close(before[:, :3], after[:, :3], rtol=0, atol=1e-12)
    assert not torch.allclose(before[:, 3:], after[:, 3:])


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_logits_with_and_without_the_cache_agree(norm: str) -> None:
    model = built(norm=norm).eval()
    source, shifted = translation().inputs
    cache = model.start(model.encode(source), source)
    steps = [model.step(shifted[:, t], cache) for t in range(shifted.shape[1])]
    torch.testing.assert_close(torch.stack(steps, dim=1), model(source, shifted), rtol=0, atol=1e-12)


def test_selected_rows_of_the_cache_go_on_as_what_they_were() -> None:
    model = built().eval()
    source, _ = translation().inputs
    g = torch.Generator().manual_seed(5)
    prefixes = torch.randint(4, VOCABULARY, (15, 6), generator=g)  # three rows a sentence
    cache = model.start(model.encode(source), source, beams=3)
    for t in range(2):
        model.step(prefixes[:, t], cache)
    within = torch.tensor([1, 1, 0, 5, 4, 3, 6, 7, 8, 9, 9, 9, 13, 12, 14])
    cache.reorder(within)
    model.step(prefixes[within, 2], cache)
    across = torch.tensor([14, 12, 12, 4, 3, 5])  # sentences 4 and 1
    cache.select(across)
    rows = within[across]
    logits = model.step(prefixes[rows, 3], cache)
    seen = torch.cat([prefixes[rows, :2], prefixes[rows, 2:4]], dim=1)
    torch.testing.assert_close(logits, model(source[rows // 3], seen)[:, -1], rtol=0, atol=1e-12)
    assert len(cache) == 6
    with pytest.raises(ValueError, match="the cache has 6 rows"):
        model.step(prefixes[:, 0], cache)


@pytest.mark.parametrize(("tie", "matrices"), [("all", 1), ("decoder", 2), ("none", 3)])
def test_tied_matrices_are_one_parameter(tie: str, matrices: int) -> None:
    torch.manual_seed(0)
    model = Transformer(200, 200, width=64, tie=tie)
    tables = [model.encoder.embedding.weight, model.decoder.embedding.weight, model.head.weight]
    assert len({id(t) for t in tables}) == matrices
    assert sum(p.shape == (200, 64) for _, p in model.named_parameters()) == matrices
    for table in tables:
        assert float(table.detach().std()) == pytest.approx(64**-0.5, rel=0.05)
    assert not tables[0][0].any()
    assert not tables[1][0].any()


def test_first_weights_of_linear_layers_are_xavier_draws_a_matrix() -> None:
    for linear, gain in (
        (SelfAttention(64, 4).project, 2**-0.5),
        (CrossAttention(64, 4).key_value, 2**-0.5),
        (CrossAttention(64, 4).output, 1.0),
    ):
        bound = gain * math.sqrt(6 / (64 + 64))
        assert 0.95 * bound < float(linear.weight.detach().abs().max()) <= bound
        assert not linear.bias.any()


@pytest.mark.parametrize("first", [0, 299])
def test_positions_have_any_length_and_start_anywhere(first: int) -> None:
    by_hand = positions_by_hand(3000, 6)[first:]
    like = torch.zeros(6, dtype=torch.float64)
    torch.testing.assert_close(sinusoids(first, 3000 - first, like), by_hand, rtol=0, atol=1e-11)
    half = sinusoids(first, 600, like.bfloat16())
    torch.testing.assert_close(half.double(), by_hand[:600], rtol=0, atol=2**-8)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_forward_mode_agrees_with_reverse_mode(norm: str, dropout: float) -> None:
    """The losses' slopes in one direction, dropout of activations and attention included."""
    model, batch = built(norm=norm, dropout=dropout, attention_dropout=dropout), translation()
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    u = {name: torch.randn_like(p) for name, p in parameters.items()}

    def losses(values: dict[str, Tensor]) -> Tensor:
        torch.manual_seed(7)
        logits = functional_call(model, values, batch.inputs)
        return token_cross_entropy(logits, batch.targets)[0]

    with differentiable():
        _, slopes = jvp(losses, (parameters,), (u,))
        leaves = {name: p.clone().requires_grad_() for name, p in parameters.items()}
        rows = [
            torch.autograd.grad(loss, list(leaves.values()), retain_graph=True) for loss in losses(leaves)
        ]
    by_rows = torch.stack([sum((g * d).sum() for g, d in zip(r, u.values(), strict=True)) for r in rows])
    torch.testing.assert_close(slopes, by_rows, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_double_backward_agrees_with_forward_over_reverse(norm: str) -> None:
    """The Hessian of the loss times a direction, in two ways."""
    model, batch = built(norm=norm, activation="gelu"), translation()
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    u = {name: torch.randn_like(p) for name, p in parameters.items()}

    def loss(values: dict[str, Tensor]) -> Tensor:
        logits = functional_call(model, values, batch.inputs)
        return token_cross_entropy(logits, batch.targets)[0].mean()

    with differentiable():
        _, forward = jvp(grad(loss), (parameters,), (u,))
        leaves = {name: p.clone().requires_grad_() for name, p in parameters.items()}
        first = torch.autograd.grad(loss(leaves), list(leaves.values()), create_graph=True)
        along = torch.stack([(g * d).sum() for g, d in zip(first, u.values(), strict=True)]).sum()
        double = torch.autograd.grad(along, list(leaves.values()))
    for one, other in zip(forward.values(), double, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("tie", ["all", "decoder", "none"])
def test_engines_agree_on_tied_parameters(tie: str) -> None:
    """``higher`` patches a copy, ``forward`` calls it functionally; both must know what is shared."""
    model, batch = built(tie=tie, dropout=0.2), translation()
    taps = ("encoder.layers.1", "decoder.layers.2")
    student = Student(model, token_cross_entropy, taps=taps, time_axes=time_axes)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weights = torch.ones(5, dtype=torch.float64, requires_grad=True)
    slopes = {}
    for engine in ("higher", "forward"):
        torch.manual_seed(3)
        result = mw.hypergradient(
            student, optimizer, batch, batch, lambda _: weights, [weights], engine=engine
        )
        slopes[engine] = result.grads[0]
    assert bool(slopes["higher"].abs().min() > 0)
    torch.testing.assert_close(slopes["higher"], slopes["forward"], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Transformer(9, 8), ValueError, "sizes 9 and 8; use tie='decoder'"),
        (lambda: Transformer(9, 9, tie="al"), KeyError, "Did you mean 'all'"),
        (lambda: Transformer(9, 9, norm="prenorm"), KeyError, "Did you mean 'pre'"),
        (lambda: Transformer(9, 9, activation="rel"), KeyError, "Did you mean 'relu'"),
        (lambda: Transformer(9, 9, width=30, heads=4), ValueError, "heads divide the width"),
        (lambda: Transformer(9, 9, width=9, heads=3), ValueError, "width is even"),
        (lambda: Transformer(9, 9, encoder_layers=0), ValueError, "layers are 1 or more"),
        (
            lambda: Transformer(9, 9, dropout=1.0),
            ValueError,
            r"dropout is a probability in \[0, 1\), got 1.0",
        ),
        (lambda: Transformer(9, 9, padding=9), ValueError, r"padding is an id .* 0\.\.8, got 9"),
    ],
)
def test_mistakes_are_named(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
