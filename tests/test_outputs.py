"""Places that cannot be written are found out before the work, and named in one line."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from vidtok.errors import EnvironmentFault
from vidtok.outputs import check_writable, check_writable_file, refusal, write_whole, writing


def test_a_folder_that_does_not_exist_yet_is_not_made_by_the_check(tmp_path: Path) -> None:
    check_writable(tmp_path / "with spaces" / "deep")
    assert not list(tmp_path.iterdir())


def test_a_linked_folder_is_as_good_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    check_writable(tmp_path / "link" / "run")


@pytest.mark.parametrize("inside", ["", "below"])
@pytest.mark.parametrize("kind", ["file", "link to nowhere", "device"])
def test_what_is_no_folder_takes_no_files(tmp_path: Path, kind: str, inside: str) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("kept")
    else:
        place.symlink_to(tmp_path / "nowhere" if kind == "link to nowhere" else "/dev/full")
    with pytest.raises(EnvironmentFault, match=rf"cannot write '.*place/?{inside}': (Not a directory|No such file)"):
        check_writable(place / inside)
    assert kind != "file" or place.read_text() == "kept"


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(EnvironmentFault, match="Permission denied"):
        check_writable(tmp_path / "run")


def test_checking_a_file_leaves_its_content(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    check_writable_file(file)
    assert not file.exists()
    file.write_text("old")
    check_writable_file(file)
    assert file.read_text() == "old"
    with pytest.raises(EnvironmentFault, match="Is a directory"):
        check_writable_file(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_line_also_where_numpy_hides_the_number(tmp_path: Path) -> None:
    full = pytest.raises(EnvironmentFault, match="cannot write '/dev/full': No space left on device")
    with full, writing("/dev/full"), Path("/dev/full").open("w") as stream:
        stream.write("x")
    (tmp_path / "full.npy").symlink_to("/dev/full")
    with pytest.raises(EnvironmentFault, match="cannot write"), writing(tmp_path / "full.npy"):
        np.save(tmp_path / "full.npy", np.zeros(100_000))


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ConnectionResetError), writing("file"):
        raise ConnectionResetError(errno.ECONNRESET, "reset")
    assert refusal(ConnectionResetError(errno.ECONNRESET, "reset")) is None
    assert refusal(FileNotFoundError(errno.ENOENT, "nobody says which file")) is None


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    write_whole(file, "one")
    write_whole(file, "two")
    assert file.read_text() == "two" and list(tmp_path.iterdir()) == [file]
    with pytest.raises(EnvironmentFault, match="cannot write"):
        write_whole(tmp_path / "absent" / "config.yaml", "three")
