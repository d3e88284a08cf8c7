"""Texts as points: what words they share, and what words go with these."""

from __future__ import annotations

import torch
from torch import Tensor

from metaweight.data.text.padded import Ragged

LATENT = 50
"""Numbers of a point, where there are as many words and texts."""


def latent_points(ids: Ragged) -> Tensor:
    """Texts by the ids of their words or pieces -> points of length 1 (0 for empty ones): [N, d] float64.

    Latent semantic analysis (Deerwester et al., 1990): scikit-learn's TF-IDF, then its truncated SVD.
    """
    import numpy as np
    from scipy.sparse import csr_matrix
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.preprocessing import normalize

    starts = np.concatenate([[0], ids.ends.numpy()])
    words = csr_matrix((np.ones(len(ids.flat)), ids.flat.numpy().astype(np.int64), starts))
    words.sum_duplicates()
    size = min(LATENT, *words.shape)
    latent = TruncatedSVD(size, random_state=0).fit_transform(TfidfTransformer().fit_transform(words))
    return torch.from_numpy(normalize(latent))
