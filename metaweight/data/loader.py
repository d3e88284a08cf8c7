"""ImageLoader: batches as a pure function of (seed, epoch, position), so that a run resumes bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.data.augment import Crops, check_padding, standardise
from metaweight.data.epochs import ByRow, EpochOrder
from metaweight.data.seeding import derive


class ImageLoader(ByRow):
    """Batches of the samples ``index`` [n] of a data set: images [N, C, H, W] uint8 or float, labels [N].

    ``Batch.index`` is the position in the whole data set.  Epoch e has the order of a permutation drawn
    from (seed, e), its batch b the crops and flips drawn from (seed, e, b), whatever was asked for before
    and on whatever ``device`` (default: the images').  There a loader keeps only its own samples, if the
    images lie elsewhere.  ``mean`` and ``std``: see ``standardise``; without them bytes go to 0..1.
    Iterating gives the next epoch each time.  Raises ValueError for lengths that differ, positions out of
    range, and sizes that give no batch.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        index: Tensor,
        *,
        batch_size: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        augment: bool = False,
        padding: int = 4,
        flip: bool = True,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if images.dim() != 4 or labels.shape != (len(images),):
            shapes = tuple(images.shape), tuple(labels.shape)
            raise ValueError(f"images are [N, C, H, W] and labels [N], got {shapes[0]} and {shapes[1]}")
        if index.dim() != 1 or index.dtype != torch.int64 or len(index) == 0:
            got = f"{index.dtype} of shape {tuple(index.shape)}"
            raise ValueError(f"index is int64 of shape [n] with n > 0, got {got}; name at least one sample")
        if int(index.min()) < 0 or int(index.max()) >= len(images):
            span = f"{int(index.min())}..{int(index.max())}"
            raise ValueError(f"index names positions 0..{len(images) - 1}, got {span}")
        if batch_size < 1 or (drop_last and batch_size > len(index)):
            raise ValueError(
                f"batch_size {batch_size} gives no batch of {len(index)} samples"
                f"{' with drop_last' if drop_last else ''}; use 1..{len(index)}"
            )
        if augment:
            check_padding(images, padding)
        if (mean is None) != (std is None):
            raise ValueError("mean and std go together: give both or none")
        channels, target = images.shape[1], torch.device(device) if device is not None else images.device
        self.images, self.labels, self.index = images, labels, index
        self.batch_size, self.shuffle, self.drop_last, self.seed = batch_size, shuffle, drop_last, seed
        self.augment, self.padding, self.flip = augment, padding, flip
        self.mean = tuple(mean) if mean is not None else (0.0,) * channels
        self.std = tuple(std) if std is not None else (1.0,) * channels
        self.device, self.dtype = target, dtype
        # elsewhere: a compact copy of the own rows; here: the whole tensor, shared with other loaders
        here = images.device == target
        self._pixels = images if here else images[index.to(images.device)].to(target)
        self._index = index.to(target)
        self._rows = self._index if here else torch.arange(len(index), device=target)
        self._targets = labels.to(target)[self._index]
        super().__init__()
        self._order = EpochOrder(len(index), shuffle=shuffle, seed=seed, device=target)
        standardise(self._pixels[:1], self.mean, self.std)  # a wrong mean or std fails here, not in training

    def __len__(self) -> int:
        """Batches an epoch."""
        whole, rest = divmod(len(self.index), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def rows(self, epoch: int, position: int) -> int:
        """How many a batch has."""
        return min(self.batch_size, len(self.index) - position * self.batch_size)

    def read(self, epoch: int, position: int, rows: slice) -> Batch:
        """Those rows of a batch; of the others nothing but where they are cropped is drawn."""
        first = position * self.batch_size
        picked = self._order.of(epoch)[first : first + self.batch_size][rows]
        images = self._pixels[self._rows[picked]]
        if self.augment:
            generator, count = derive(self.seed, "augment", epoch, position), self.rows(epoch, position)
            crops = Crops.drawn(count, self.padding, flip=self.flip, generator=generator)
            images = crops.rows(rows).of(images)
        inputs = standardise(images, self.mean, self.std, dtype=self.dtype)
        return Batch((inputs,), self._targets[picked], self._index[picked])
