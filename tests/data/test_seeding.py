"""Random streams are functions of purpose and key."""

from itertools import combinations

from vidtok.data.seeding import Purpose, keyed_rng


def test_streams_repeat_and_differ_by_purpose_and_by_every_part_of_the_key() -> None:
    # Plain seed sequences take (1,) and (1, 0) for the same key; here the number of parts belongs to the purpose.
    keys = [
        (Purpose.ORDER, 1, 0),
        (Purpose.ORDER, 0, 1),
        (Purpose.SAMPLE, 1, 0, 0),
        (Purpose.SAMPLE, 0, 1, 0),
        (Purpose.SAMPLE, 0, 0, 1),
        (Purpose.VIEW_SHUFFLE, 1, 0),
    ]
    draws = [keyed_rng(*key).random(4).tolist() for key in keys]
    assert draws == [keyed_rng(*key).random(4).tolist() for key in keys]
    assert all(first != second for first, second in combinations(draws, 2))
