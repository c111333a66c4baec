from __future__ import annotations

import pytest

from judges import make_judge
from rlaif.types import UsageError


def test_reference_is_made() -> None:
    assert make_judge("reference").identity.model == "reference"


@pytest.mark.parametrize("name", ["gpt-4o", "", "Reference"])
def test_any_other_name_says_what_there_is(name: str) -> None:
    with pytest.raises(UsageError, match="not part of this version yet; available: 'reference'"):
        make_judge(name)
