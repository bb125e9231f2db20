"""The kinds of list files, in the order in which they are tried."""

from collections.abc import Callable
from dataclasses import dataclass

from vidtok.data.manifest.charades import is_charades, read_charades
from vidtok.data.manifest.diving48 import is_diving48, read_diving48
from vidtok.data.manifest.epic import is_epic, read_epic
from vidtok.data.manifest.hmdb51 import is_hmdb51, read_hmdb51
from vidtok.data.manifest.items import ListFile, Listing
from vidtok.data.manifest.jester import is_jester, read_jester
from vidtok.data.manifest.kinetics import is_kinetics, read_kinetics
from vidtok.data.manifest.lists import read_list
from vidtok.data.manifest.moments import is_moments, read_moments
from vidtok.data.manifest.records import is_json, is_jsonl, read_json, read_jsonl
from vidtok.data.manifest.ssv2 import is_ssv2, is_ssv2_answers, read_ssv2, read_ssv2_answers
from vidtok.data.manifest.ucf101 import is_ucf101, read_ucf101


@dataclass(frozen=True, slots=True)
class Reader:
    """One kind of list: how its files are recognised, by content, and read."""

    name: str
    recognises: Callable[[ListFile], bool]
    read: Callable[[ListFile], Listing]


READERS = (
    Reader("Something-Something-V2 json", is_ssv2, read_ssv2),
    Reader("Diving48 json", is_diving48, read_diving48),
    Reader("json", is_json, read_json),
    Reader("Kinetics csv", is_kinetics, read_kinetics),
    Reader("Charades csv", is_charades, read_charades),
    Reader("EPIC-KITCHENS csv", is_epic, read_epic),
    Reader("Moments in Time csv", is_moments, read_moments),
    Reader("UCF101 list", is_ucf101, read_ucf101),
    Reader("HMDB51 split", is_hmdb51, read_hmdb51),
    Reader("Jester list", is_jester, read_jester),
    Reader("Something-Something-V2 answers", is_ssv2_answers, read_ssv2_answers),
    Reader("jsonl", is_jsonl, read_jsonl),
    Reader("path label lines", lambda file: True, read_list),
)
"""The first that recognises a file reads it: official lists before general ones."""


def read_list_file(file: ListFile) -> Listing:
    """Read a list as the first kind that it is. Raises DataError."""
    return next(reader for reader in READERS if reader.recognises(file)).read(file)
