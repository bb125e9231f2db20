"""The frame list is worked out from packets alone; here the packets are written by hand."""

import av
import numpy as np
import pytest

from vidtok.data.decode.index import PacketFacts, PacketIndex, nal_types, plan_reads
from vidtok.data.decode.info import frame_times


def packets(text: str) -> list[PacketFacts]:
    """Packets in decoding order from words like ``K0 4 2h``: presentation time, K key, h hidden, ? no time."""
    facts = []
    for place, word in enumerate(text.split()):
        time = None if "?" in word else int(word.strip("Kh"))
        facts.append(PacketFacts(time, place, is_key="K" in word, is_hidden="h" in word, is_suspect=False))
    return facts


def index_of(text: str, **kwargs: object) -> PacketIndex:
    return PacketIndex(packets(text), **({"container": "mov", "codec": "h264"} | kwargs))


def test_frames_are_visible_packets_in_order_of_time() -> None:
    index = index_of("K0h 4 2 K6 10 8")
    assert index.doubt is None
    assert index.pts.tolist() == [2, 4, 6, 8, 10]
    assert index.positions.tolist() == [2, 1, 3, 5, 4]


def test_leading_pictures_start_from_the_group_before() -> None:
    index = index_of("K0 2 1 K6 4 5 8")
    assert index.pts.tolist() == [0, 1, 2, 4, 5, 6, 8]
    assert index.starts.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert index.has_leading_pictures and index.is_reordered


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("K0 ? 2", {}),
        ("K0 1 1", {}),
        ("1 2 K3", {}),
        ("K3 1 2 4", {}),
        ("K0h 1h", {}),
        ("K0 1 2", {"field_order": 2}),
        ("K0 2 1", {"container": "avi"}),
    ],
)
def test_packets_that_do_not_tell_the_frames_are_doubted(text: str, options: dict[str, object]) -> None:
    assert index_of("K0 2 1 3").doubt is None
    assert index_of(text, **options).doubt


def test_only_the_same_distinct_times_in_order_confirm_the_packets() -> None:
    index = index_of("K0 2 1")
    assert index.is_confirmed_by([0, 1, 2])
    assert not index.is_confirmed_by([0, 2, 1])
    assert not index.is_confirmed_by([0, 1])
    assert not index_of("K0 1 1").is_confirmed_by([0, 1, 1])


def test_packets_without_a_picture_of_their_own_are_suspect() -> None:
    shown, unseen = (PacketFacts.of(av.Packet(bytes([bits]) * 40), "vp8", None) for bits in (0x10, 0x00))
    assert unseen.is_suspect and not shown.is_suspect
    assert PacketFacts.of(av.Packet(b"x" * 7), "mpeg4", None).is_suspect
    assert not PacketFacts.of(av.Packet(b"x" * 7), "h264", None).is_suspect


def test_nal_types_are_found_in_both_layouts() -> None:
    slices = b"\x67sps", b"\x65idr picture"
    lengths = b"".join(len(unit).to_bytes(4, "big") + unit for unit in slices)
    assert nal_types(lengths, bytes([1, 0, 0, 0, 0xFF])) == {7, 5}
    assert nal_types(b"".join(b"\0\0\0\1" + unit for unit in slices), None) == {7, 5}
    assert nal_types(b"\0\0\0\x09\x41p slice", bytes([1, 0, 0, 0, 0xFF])) == {1}


def test_plans_cover_the_wanted_frames_and_only_seek_where_that_skips_packets() -> None:
    index = index_of(" ".join(f"K{time}" if time % 10 == 0 else str(time) for time in range(60)))
    for wanted in ([0], [3, 55], [8, 9, 10, 11], [0, 9, 19, 20, 45, 59], list(range(60))):
        runs = plan_reads(index, np.array(wanted), near=3)
        assert np.concatenate(runs).tolist() == wanted
        assert all(len(run) for run in runs)
    assert [run.tolist() for run in plan_reads(index, np.array([8, 10, 12, 35, 36]), near=3)] == [[8, 10, 12], [35, 36]]
    assert plan_reads(index, np.array([], dtype=int), near=3) == []


def test_times_that_are_missing_follow_the_rate_and_jumbled_ones_are_sorted() -> None:
    seconds, fps = frame_times([None, 3, None], 0.1, 50.0)
    assert seconds.tolist() == [0.0, 0.02, 0.04] and fps == 50.0
    seconds, fps = frame_times([4, 2, 6], 0.5, 50.0)
    assert seconds.tolist() == [0.0, 1.0, 2.0] and fps == 1.0
    assert frame_times([9, 9], 1.0, 30.0)[1] == 30.0
