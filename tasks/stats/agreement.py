"""Agreement of two judges over the same pairs: shares, Cohen's kappa and rank correlation.

Sources: kappa, Cohen (1960); its interval is a percentile bootstrap over pairs. The shift of
the win rate is a paired difference like any verdict's (`tasks.stats.paired`).
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tasks.core.errors import InputError
from tasks.stats.formatting import interval, p_value, signed
from tasks.stats.paired import LEVEL, RESAMPLES, FiniteValue, PairedDifference, paired_difference

FloatArray = NDArray[np.float64]
Choices = tuple[tuple[int, ...], ...]

__all__ = ["Agreement", "Choices", "agree", "agreement_sentence", "choice_table"]


class Agreement(FiniteValue):
    """How far the present judge is from an earlier one on the same pairs of answers.

    earlier, present    the judges' names
    n                   pairs that both judged; n_failed: pairs that only the earlier one did
    agreement           the share of pairs in which both prefer the same answer, or neither, 0 to 1
    kappa               Cohen's kappa of these three choices: agreement beyond chance, -1 to 1
    kappa_lower, kappa_upper   its 95% interval
    rank_correlation    Spearman's, of the preferences
    earlier_win_rate, present_win_rate   of these pairs, in %
    shift               present minus earlier, in percentage points, paired

    kappa and rank_correlation are None where one judge always says the same.
    """

    earlier: str
    present: str
    n: int
    n_failed: int
    agreement: float
    kappa: float | None
    kappa_lower: float | None
    kappa_upper: float | None
    rank_correlation: float | None
    earlier_win_rate: float
    present_win_rate: float
    shift: PairedDifference

    @property
    def drifted(self) -> bool:
        """Whether the present judge's win rate differs: by interval and test, as in a verdict."""
        return not self.shift.lower <= 0 <= self.shift.upper and self.shift.p_value < LEVEL


def agree(
    earlier: str, present: str, before: ArrayLike, now: ArrayLike, *, n_failed: int = 0, seed: int = 0
) -> Agreement:
    """Compares two judges' preferences, 0 (the reference is better) to 1, of the same pairs in one order.

    before, now  shape (pairs,): by the judge `earlier`, and by `present`

    Raises:
        InputError: there are fewer than two pairs, or a preference is not from 0 to 1.
    """
    first, second = np.asarray(before, np.float64), np.asarray(now, np.float64)
    shift = paired_difference(100 * first, 100 * second, seed=seed)
    if min(first.min(), second.min()) < 0 or max(first.max(), second.max()) > 1:
        raise InputError(f"preferences of {earlier} and {present} are from 0 to 1; another scale is in them")
    table = _table(first, second)
    (kappa,) = _kappa(table[None])
    lower, upper = (None, None) if math.isnan(kappa) else _kappa_interval(table, seed)
    return Agreement(
        earlier=earlier,
        present=present,
        n=len(first),
        n_failed=n_failed,
        agreement=float(np.trace(table) / table.sum()),
        kappa=None if math.isnan(kappa) else float(kappa),
        kappa_lower=lower,
        kappa_upper=upper,
        rank_correlation=_rank_correlation(first, second),
        earlier_win_rate=float(100 * first.mean()),
        present_win_rate=float(100 * second.mean()),
        shift=shift,
    )


def agreement_sentence(found: Agreement) -> str:
    """The agreement in one sentence."""
    says = (
        f"{found.present} agrees with {found.earlier} in {found.agreement:.0%} of {found.n} pairs "
        f"(kappa {_number(found.kappa)}, rank correlation {_number(found.rank_correlation)})"
    )
    moved = (
        f"its win rate lies {signed(found.shift.mean)} points from that one's "
        f"(95% interval {interval(found.shift.lower, found.shift.upper)}, p {p_value(found.shift.p_value)})"
    )
    verdict = "the two judges' figures are not alike" if found.drifted else "no evidence of a shift"
    return f"{says}; {moved}: {verdict}."


def choice_table(before: ArrayLike, now: ArrayLike) -> Choices:
    """How often one judge chose the reference, neither or the answer, and the other so: rows are the first's.

    before, now  shape (pairs,): preferences from 0 to 1 of the same pairs
    """
    counts = _table(np.asarray(before, np.float64), np.asarray(now, np.float64)).astype(int).tolist()
    return tuple(tuple(row) for row in counts)


def _number(value: float | None) -> str:
    return "not available" if value is None else f"{value:.2f}"


def _table(first: FloatArray, second: FloatArray) -> FloatArray:
    """Shape (3, 3): how often the one chose the reference, neither or the answer, and the other so."""
    counts = np.zeros((3, 3))
    np.add.at(counts, tuple(np.sign(side - 0.5).astype(int) + 1 for side in (first, second)), 1)
    return counts


def _kappa(tables_N33: FloatArray) -> FloatArray:
    """Shape (N,): (p_o − p_e) / (1 − p_e), nan where both always choose the same."""
    shares = tables_N33 / tables_N33.sum(axis=(1, 2), keepdims=True)
    observed = np.trace(shares, axis1=1, axis2=2)
    expected = (shares.sum(axis=1) * shares.sum(axis=2)).sum(axis=1)
    chance = 1 - expected
    kappa: FloatArray = np.where(chance > 1e-12, (observed - expected) / np.maximum(chance, 1e-12), np.nan)
    return kappa


def _kappa_interval(table: FloatArray, seed: int) -> tuple[float, float]:
    """Resampling pairs is drawing the table's cells anew."""
    draws = np.random.default_rng(seed).multinomial(
        int(table.sum()), table.ravel() / table.sum(), size=RESAMPLES
    )
    lower, upper = np.nanquantile(
        _kappa(draws.reshape(-1, 3, 3).astype(np.float64)), [LEVEL / 2, 1 - LEVEL / 2]
    )
    return float(lower), float(upper)


def _rank_correlation(first: FloatArray, second: FloatArray) -> float | None:
    from scipy.stats import spearmanr

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first, second).statistic)
