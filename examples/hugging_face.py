"""Find the sentences that were labelled wrongly while a Hugging Face model is trained on them."""

import torch
from datasets import Dataset
from transformers import BertConfig, BertForSequenceClassification, TrainingArguments

import metaweight as mw

torch.manual_seed(0)
labels = torch.randint(2, (320,))
words = torch.randint(2, 14, (320, 6)) + 12 * labels[:, None]  # each class has some words of its own
given = torch.where(torch.arange(320) % 3 == 0, 1 - labels, labels)  # and each third label is wrong
rows = Dataset.from_dict({"input_ids": words[:240].tolist(), "labels": given[:240].tolist()})
checked = Dataset.from_dict({"input_ids": words[240:].tolist(), "labels": labels[240:].tolist()})

sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
model = BertForSequenceClassification(BertConfig(vocab_size=30, pad_token_id=0, **sizes))
args = TrainingArguments("runs/hugging_face", num_train_epochs=8, per_device_train_batch_size=32,
                         learning_rate=1e-2, report_to=[], save_strategy="no", use_cpu=True)  # fmt: skip
trainer = mw.huggingface.ReweightingTrainer(model, args, train_dataset=rows, trusted_dataset=checked)
trainer.train()
suspects = trainer.suspects()
print(f"{sum(suspects['index'][:50] % 3 == 0)} of the first 50 suspects are wrong")
print(f"the page: {trainer.report('page.html')}")
