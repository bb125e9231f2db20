import pytest

from vidtok.errors import GridError
from vidtok.nn.tokens import TokenGrid


def test_a_lattice_counts_its_tokens():
    assert TokenGrid.lattice(4, 3, 2) == TokenGrid(24, 4, (3, 2))
    assert TokenGrid.lattice(4, 3, 2).require_lattice("x") == (4, 3, 2)


def test_scattered_tokens_are_refused_with_who_and_why():
    with pytest.raises(GridError, match="lookup needs tokens on a lattice, but 7 scattered tokens"):
        TokenGrid(7, 1, None).require_lattice("lookup")


def test_mixed_times_are_refused_with_who_and_why():
    with pytest.raises(GridError, match="divided attention needs tokens that belong to one time step"):
        TokenGrid(7, None, None).require_time("divided attention")
