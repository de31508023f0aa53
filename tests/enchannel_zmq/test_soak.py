"""A few rounds of random operations; ``python -m tests.soak`` performs more."""

import pytest

from tests.rigs import LONG_STREAM_TIMEOUT
from tests.soak.catalog import Group
from tests.soak.journal import Journal
from tests.soak.rounds import Plan, Soak

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(LONG_STREAM_TIMEOUT)]

ROUND_COUNT = 6


@pytest.mark.parametrize("group", list(Group))
def test_random_operations_keep_invariants(group: Group) -> None:
    plan = Plan(seed=1, kernel_count=1, operations=3, groups=frozenset({Group.CALM, group}))
    journal = Journal()
    with Soak(plan, journal) as soak:
        for number in range(ROUND_COUNT):
            assert soak.perform(number), journal.failure()
