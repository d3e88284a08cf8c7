"""An encoder that was kept as JSON encodes as the one that was fitted."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import torch

from metaweight.data.tabular import TableEncoder
from metaweight.data.tabular.kept import encoder_of, encoder_record


def table(rows: int, seed: int) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    number = draw.normal(3, 7, rows)
    number[::5] = np.nan
    return pd.DataFrame(
        {
            "number": number,
            "text number": [f"{value:.3f}" for value in draw.normal(size=rows)],
            "equal": 4,
            "yes": draw.random(rows) < 0.5,
            "colour": draw.choice(["red", "grün", "", "1"], rows),
            "day": pd.date_range("2023-11-05 13:00", periods=rows, freq="31h"),
            "name": [f"somebody {seed} {row}" for row in range(rows)],
            "lenient": [*(str(value) for value in range(rows - 1)), "none"],
        }
    )


def test_a_kept_encoder_encodes_to_the_bit_as_the_fitted_one() -> None:
    fitted = TableEncoder().fit(table(60, 0))
    assert len(fitted.notes) == 8
    assert {type(column).__name__ for column in fitted.columns} == {
        "NumberColumn",
        "CategoryColumn",
        "DateColumn",
    }
    kept = encoder_of(json.loads(json.dumps(encoder_record(fitted))))
    assert kept.names == fitted.names
    assert kept.columns == fitted.columns
    assert (kept.width, kept.cardinalities) == (fitted.width, fitted.cardinalities)
    for rows in (table(60, 0), table(25, 1)):
        one, other = fitted.transform(rows), kept.transform(rows)
        assert torch.equal(one.numbers, other.numbers)
        assert torch.equal(one.categories, other.categories)
