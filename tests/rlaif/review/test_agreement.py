import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.review.agreement import bins, flips, length_slope, quadratic_kappa, spearman

SCORES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.25, 0.5, 0.7, 1.0]), st.sampled_from([0.0, 0.3, 0.5, 0.75, 1.0])), min_size=2
)


def test_bins_round_halves_up():
    assert bins([0, 0.124, 0.125, 0.5, 0.875, 1]).tolist() == [1, 1, 2, 3, 5, 5]


@pytest.mark.slow  # importing statsmodels takes seconds
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of statsmodels, about standard errors that nobody asked for
@given(SCORES)
def test_kappa_is_that_of_statsmodels(pairs):
    from statsmodels.stats.inter_rater import cohens_kappa

    a, b = np.array(pairs).T
    table = np.zeros((5, 5))
    np.add.at(table, (bins(a) - 1, bins(b) - 1), 1)
    ours = quadratic_kappa(a, b)
    if ours is None:
        assert len(set(bins(a)) | set(bins(b))) == 1
    else:
        assert ours == pytest.approx(cohens_kappa(table, wt="quadratic").kappa)


def test_undefined_is_none_and_never_nan():
    assert quadratic_kappa([], []) is None and quadratic_kappa([0.5, 0.5], [0.5, 0.5]) is None
    assert spearman([0.5, 0.5], [0.1, 0.9]) is None and spearman([0.1], [0.2]) is None
    assert length_slope([0.1, 0.9], [10, 10], ["q", "q"]) is None and length_slope([], [], []) is None
    assert spearman([0.1, 0.5, 0.9], [0.2, 0.3, 0.4]) == pytest.approx(1.0)


def test_length_slope_is_within_questions():
    # Within each question 10 tokens more give 0.1 more; between them the longer question has the lower scores.
    assert length_slope([0.5, 0.6, 0.1, 0.2], [10, 20, 110, 120], ["p", "p", "q", "q"]) == pytest.approx(1.0)


def test_flips_counts_turned_round_and_tied_pairs():
    first = {"a": 0.9, "b": 0.1, "c": 0.5, "d": 0.9, "e": 0.1, "f": 0.3, "g": 0.3, "h": 0.8, "i": 0.1}
    second = {"a": 0.2, "b": 0.7, "c": 0.9, "d": 0.4, "e": 0.4, "f": 0.1, "g": 0.9, "h": 0.6, "i": 0.5}
    found = flips(first, second, {1: ["a", "b", "c"], 2: ["d", "e"], 3: ["f", "g"], 4: ["h", "i"]})
    assert (found.pairs, found.flipped, found.tied, found.share) == (3, 1, 1, pytest.approx(1 / 3))
    assert flips({}, {}, {}).share is None
