"""A folder that holds one folder of videos per class."""

import os
from pathlib import Path

from vidtok.data.labels import NameIndex, Row
from vidtok.data.manifest.files import checked_name, videos_below
from vidtok.data.manifest.items import Listing
from vidtok.errors import DataError, did_you_mean

SPLIT_FOLDERS = frozenset({"train", "val", "test", "training", "validation"})


def read_folder(folder: Path, names: tuple[str, ...] | None, key: str) -> Listing:
    """Rows of a folder of class folders, labels as indices into the names.

    Args:
        folder: holds ``CLASS/.../VIDEO.mp4``.
        names: class names that the folders are found in; None: the folders that hold videos, in code point order.
        key: the setting that holds the folder, for messages.

    Raises:
        DataError: no class folders, folders of splits instead, a folder that ``names`` does not hold.
    """
    class_folders = [name for name in os.listdir(folder) if not name.startswith(".") and (folder / name).is_dir()]
    videos = {name: list(map(checked_name, videos_below(folder / name))) for name in class_folders}
    found = sorted(name for name, files in videos.items() if files)
    if not found:
        raise DataError(f"{key}: '{folder}' holds no class folders with videos; expected {folder}/CLASS/VIDEO.mp4")
    if SPLIT_FOLDERS.issuperset(map(str.lower, found)):
        raise DataError(f"{key}: '{folder}' holds splits, not classes; name one of them, such as '{folder / found[0]}'")
    names = names or tuple(found)
    index = NameIndex(names)
    rows = []
    for name in found:
        label = index.find(name)
        if label is None:
            hint = did_you_mean(name, names)
            raise DataError(f"{key}: folder '{folder / name}' is not one of the {len(names)} class names{hint}")
        paths = (os.path.join(name, file) for file in videos[name])
        rows += [Row(path, path, (str(label),)) for path in paths]
    return Listing(rows, names, folder)
