"""What a trainer of somebody else's tells of the weights that a Weighing has given its rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from metaweight.core.contracts import MetaweightError
from metaweight.integrations.files import write_report
from metaweight.integrations.weighing import Weighing

if TYPE_CHECKING:
    from pandas import DataFrame


class Weighed:
    """What a trainer of somebody else's tells of the weights of its run at hand, or the last one."""

    _weighing: Weighing | None
    """None before the first step."""
    _begins = "train()"
    """What takes the steps."""

    @property
    def weighing(self) -> Weighing:
        """What weighs the run.  Raises MetaweightError before the first step."""
        if self._weighing is None:
            raise MetaweightError(f"there are no weights before the first step of {self._begins}")
        return self._weighing

    def weights(self) -> DataFrame:
        """By ``index`` in the training data as they were given: mean_weight and loss; NaN where unseen."""
        return self.weighing.weights()

    def suspects(self) -> DataFrame:
        """The rows that were seen, the most suspect first: index, the user's own columns, given and suggested
        label where each row has one, mean_weight, loss, is_suspect."""
        return self.weighing.suspects()

    def report(self, path: Path | str = "page.html") -> Path:
        """Write the page of the run so far, one HTML file, and say where it is; its data go into the run's
        folder.  Of several processes the first one writes.  Raises FileExistsError where another file is in
        the way."""
        if not self.weighing.leads:
            return Path(path)
        self.weighing.write(self._folder())
        return write_report(self._folder(), path)

    def _folder(self) -> Path:
        """Where the run's files lie."""
        raise NotImplementedError
