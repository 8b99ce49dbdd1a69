"""The seeds' spread is split into the initialisation's part and the data order's."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ftreg._base.errors import UsageError
from ftreg.report.inputs import finite_array


@dataclass(frozen=True)
class Components:
    """Variances of one score, in its unit squared; the residual has the interaction and all else that is random."""

    init: float
    order: float
    residual: float

    @property
    def shares(self) -> dict[str, float]:
        """Each component's share of their sum, by name; NaN where all scores are equal."""
        total = self.init + self.order + self.residual
        return {name: value / total if total else np.nan for name, value in vars(self).items()}


def variance_components(scores: ArrayLike) -> Components:
    """Return the components of a crossed grid of seeds: two random effects, by the method of moments, no less than 0.

    With mean squares of rows, columns and what they leave, σ²_init = (MS_init − MS_res)/J, σ²_order =
    (MS_order − MS_res)/I, σ²_res = MS_res. Searle, Casella, McCulloch, *Variance Components*, 1992, chapter 4. The
    grid is that of Dodge et al., *Fine-Tuning Pretrained Language Models*, 2020, arXiv 2002.06305.

    Args:
        scores: [I seeds of the initialisation, J seeds of the order], every pair run once.

    Raises:
        UsageError: not a grid of two by two or more, or a score that is not finite: then some pair is missing.
    """
    grid = finite_array("variance_components: scores", scores)
    if grid.ndim != 2 or min(grid.shape) < 2:
        raise UsageError(
            f"variance_components: scores have shape {grid.shape}; they must be a grid of two or more seeds of the "
            f"initialisation, each run with the same two or more seeds of the order"
        )
    rows, columns = grid.shape
    grand, by_row, by_column = grid.mean(), grid.mean(1, keepdims=True), grid.mean(0, keepdims=True)
    residual = ((grid - by_row - by_column + grand) ** 2).sum() / ((rows - 1) * (columns - 1))
    init = (columns * by_row.var(ddof=1) - residual) / columns
    order = (rows * by_column.var(ddof=1) - residual) / rows
    return Components(float(max(init, 0.0)), float(max(order, 0.0)), float(residual))
