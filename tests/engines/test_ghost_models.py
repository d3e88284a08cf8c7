"""Engine ``ghost`` on torch's own attention layers, PEFT's adapters and tiny Hugging Face models."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ghost_proof import Called, prove
from torch import Tensor, nn

import metaweight as mw
from metaweight.engines.ghost import Ghost
from metaweight.testing.oracles import relative

U = 6
WORDS = torch.randint(1, 30, (U, 8), generator=torch.Generator().manual_seed(1))
REAL = torch.arange(8) < torch.tensor([8, 5, 8, 2, 7, 8])[:, None]
X = torch.randn(U, 7, 8, generator=torch.Generator().manual_seed(2)).double()
PADDING = torch.arange(7) >= torch.tensor([7, 4, 7, 2, 6, 7])[:, None]
CAUSAL = torch.ones(7, 7).triu(1).bool()


def attention(m: nn.MultiheadAttention, x: Tensor, padding: Tensor, **options: Any) -> Tensor:
    place = (lambda t: t) if m.batch_first else (lambda t: t.transpose(0, 1))
    first = m(place(x), place(x), place(x), key_padding_mask=padding, attn_mask=CAUSAL, **options)[0]
    key, value = place(x[:, :6, : m.kdim].sin()), place(x[:, :6, : m.vdim].cos())
    return place(m(place(x) if m.kdim != 8 else first, key, value, **options)[0])


def separate(m: nn.MultiheadAttention, x: Tensor, _padding: Tensor) -> Tensor:
    place = (lambda t: t) if m.batch_first else (lambda t: t.transpose(0, 1))
    return place(m(place(x), place(x[..., :5]), place(x[..., :4]), average_attn_weights=False)[0])


def transformer(m: nn.Transformer, x: Tensor, padding: Tensor) -> Tensor:
    place = (lambda t: t) if m.batch_first else (lambda t: t.transpose(0, 1))
    target = place(x[:, :6].sin())  # as many places as units
    return place(m(place(x), target, src_key_padding_mask=padding, memory_key_padding_mask=padding))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention(batch_first: bool, dropout: float, need_weights: bool) -> None:
    torch.manual_seed(3)
    module = nn.MultiheadAttention(8, 2, dropout=dropout, batch_first=batch_first).double()
    prove(Called(module, lambda *a: attention(*a, need_weights=need_weights)), (X, PADDING))
    more = {"add_bias_kv": True, "add_zero_attn": True, "kdim": 5, "vdim": 4}
    module = nn.MultiheadAttention(8, 2, dropout=dropout, batch_first=batch_first, **more).double()
    prove(Called(module, separate), (X, PADDING))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_transformer_layers(batch_first: bool, dropout: float) -> None:
    torch.manual_seed(3)
    module = nn.Transformer(8, 2, 1, 1, 12, dropout, batch_first=batch_first, norm_first=batch_first).double()
    before = copy.deepcopy(module)
    _, recorded = prove(Called(module, transformer), (X, PADDING))
    torch.manual_seed(5)
    expected = transformer(before, X, PADDING)
    assert torch.equal(expected, recorded.forward.outputs)  # followed, it gives the same bits


PEFT: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoraConfig", {"r": 2, "init_lora_weights": False}),
    "dora": ("LoraConfig", {"r": 2, "init_lora_weights": False, "use_dora": True, "lora_dropout": 0.3}),
    "loha": ("LoHaConfig", {"r": 2, "init_weights": False}),
    "oft": ("OFTConfig", {"r": 0, "oft_block_size": 4, "init_weights": False}),
    "ia3": ("IA3Config", {"feedforward_modules": ["inner"]}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", PEFT)
def test_adapters_of_peft(kind: str) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(3)
    layers = nn.ModuleDict({"table": nn.Embedding(30, 8), "inner": nn.Linear(8, 8), "head": nn.Linear(8, 4)})
    module = Called(layers, lambda m, ids: m["head"](m["inner"](m["table"](ids)).tanh()))
    name, options = PEFT[kind]
    targets = ["inner", "head", "table"] if kind == "lora" else ["inner", "head"]
    adapted = peft.get_peft_model(module, getattr(peft, name)(target_modules=targets, **options)).double()
    prove(Called(adapted, lambda m, ids: m(ids)), (WORDS,))


def config(t: Any, name: str, attention: str) -> nn.Module:
    some = {"vocab_size": 30, "attn_implementation": attention}
    wide = {**some, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 16}
    image = {**wide, "image_size": 8, "patch_size": 4, "num_attention_heads": 2, "num_labels": 3}
    pair = {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    gpt = {**some, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16, **pair}
    marian = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 20, "decoder_ffn_dim": 20}
    marian |= {"d_model": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    made: dict[str, Callable[[], nn.Module]] = {
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**gpt)),
        "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**wide, **heads)),
        "qwen3": lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**wide, **heads, head_dim=4)),
        "bert": lambda: t.BertForSequenceClassification(
            t.BertConfig(**wide, num_attention_heads=2, max_position_embeddings=16, num_labels=3)
        ),
        "vit": lambda: t.ViTForImageClassification(t.ViTConfig(**image)),
        "marian": lambda: t.MarianMTModel(
            t.MarianConfig(**some, **marian, **pair, max_position_embeddings=16)
        ),
        "t5": lambda: t.T5ForConditionalGeneration(
            t.T5Config(**some, d_model=16, d_kv=8, d_ff=20, num_layers=1, num_heads=2, **pair)
        ),
    }
    torch.manual_seed(3)
    return made[name]()


def logits(module: nn.Module, x: Tensor, real: Tensor) -> Tensor:
    if x.is_floating_point():
        return module(pixel_values=x).logits
    pair = {"decoder_input_ids": x.flip(1)[:, :6]} if module.config.is_encoder_decoder else {}
    return module(input_ids=x, attention_mask=real.long(), **pair).logits


def per_sentence(outputs: Tensor, _targets: Tensor) -> Tensor:
    return outputs.log_softmax(-1).flatten(1)[:, ::7].mean(1)


MODELS = ["gpt2", "llama", "qwen3", "bert", "vit", "marian", "t5"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", MODELS)
def test_tiny_hugging_face_models(name: str, attention: str) -> None:
    transformers = pytest.importorskip("transformers")
    module = config(transformers, name, attention).double().train()
    images = torch.randn(U, 3, 8, 8, generator=torch.Generator().manual_seed(2)).double()
    prove(Called(module, logits), (images if name == "vit" else WORDS, REAL), per_sentence)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("schedule", ["lookahead", "online"])
@pytest.mark.parametrize("name", ["gpt2", "bert", "marian"])
def test_training_with_it_is_training_with_double(name: str, schedule: str) -> None:
    transformers = pytest.importorskip("transformers")
    ends = []
    for engine in (Ghost(), "double"):
        module = Called(config(transformers, name, "eager").double().train(), logits)
        student = mw.Student(module, loss=per_sentence)
        teacher = mw.build_teacher("mw-net", spec=mw.StateSpec({}, 3, dtype=torch.float64))
        reweighter = mw.Reweighter(
            student,
            teacher,
            optimizer=torch.optim.Adam(module.parameters(), lr=1e-2, eps=1e-3),
            teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=0.5),
            engine=engine,
            schedule=schedule,
        )
        torch.manual_seed(4)
        for step in range(3):
            words = WORDS.roll(step, 1)
            train = mw.Batch((words, REAL), torch.arange(U), torch.arange(U))
            meta = mw.Batch((words.flip(0)[:4], REAL[:4]), torch.arange(4), torch.arange(4))
            reweighter.step(train, meta)
        ends.append(nn.utils.parameters_to_vector([*module.parameters(), *teacher.parameters()]).detach())
    assert relative(*ends) <= 1e-9
