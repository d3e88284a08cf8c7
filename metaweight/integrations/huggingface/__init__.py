"""Weights in any Trainer of Hugging Face's, TRL's among them.

    trainer = mw.huggingface.ReweightingTrainer(
        model, args, train_dataset=rows, trusted_dataset=checked_rows, processing_class=tokenizer
    )
    trainer.train()
    trainer.suspects()  # positions in ``rows``, the most suspect first, with texts and labels
    trainer.report("page.html")  # weights.csv and this page, as report.html, lie in output_dir anyway

Of another Trainer: ``mw.huggingface.reweighting(SFTTrainer)(model, args, trusted_dataset=..., ...)``, or
``class Mine(mw.huggingface.ReweightingMixin, SFTTrainer)``, the mixin first.
"""

try:
    import accelerate as _accelerate
    import transformers as _transformers
except ImportError as error:
    raise ImportError(
        f"{error.name} is not installed: pip install 'metaweight[huggingface]'", name=error.name
    ) from error

from metaweight.integrations.huggingface.trainer import ReweightingMixin, ReweightingTrainer, reweighting

__all__ = ["ReweightingMixin", "ReweightingTrainer", "reweighting"]
del _accelerate, _transformers
