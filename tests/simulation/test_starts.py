from __future__ import annotations

import pytest

from simulation.starts import NOT_OFFICIAL, OFFICIAL_INITS, official_index, stored_index


@pytest.mark.parametrize("index", [None, 0, OFFICIAL_INITS - 1])
def test_an_index_is_read_as_it_was_stored(index):
    assert official_index(stored_index(index)) == index


def test_files_hold_minus_one_for_a_start_of_ones_own():
    assert stored_index(None) == NOT_OFFICIAL == -1
