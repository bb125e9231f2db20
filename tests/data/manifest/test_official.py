"""Official lists, in the form in which they are published, over the folders that the data sets are unpacked to."""

import json
from pathlib import Path

import pytest

from vidtok.config import DataConfig
from vidtok.data.labels import packaged_names, read_class_names
from vidtok.data.manifest import Manifest, load_manifest, load_split
from vidtok.data.segment import Segment
from vidtok.errors import DataError

CLASS_IND = "1 ApplyEyeMakeup\n2 SoccerJuggling\n"
UCF_TRAIN = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\nSoccerJuggling/v_SoccerJuggling_g08_c01.avi 2\n"
UCF_TEST = "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\nSoccerJuggling/v_SoccerJuggling_g01_c01.avi\n"


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def found(manifest: Manifest, folder: Path) -> list[tuple[str, object]]:
    return [(Path(item.path).relative_to(folder).as_posix(), item.label) for item in manifest.items]


@pytest.fixture
def ucf101(tmp_path: Path) -> Path:
    lists = tmp_path / "ucfTrainTestlist"
    for name, text in (("classInd", CLASS_IND), ("trainlist01", UCF_TRAIN), ("testlist01", UCF_TEST)):
        write(lists / f"{name}.txt", text)
    for line in (UCF_TRAIN + UCF_TEST).splitlines():
        write(tmp_path / "UCF-101" / line.split(" ")[0])
    return lists


def test_ucf101_counts_from_1_and_its_test_lists_take_the_class_from_the_folder(ucf101):
    train, test = (load_manifest(ucf101 / f"{name}.txt") for name in ("trainlist01", "testlist01"))
    assert train.class_names == test.class_names == ("ApplyEyeMakeup", "SoccerJuggling")
    folder = "UCF-101/{0}/v_{0}_g{1}_c01.avi"
    assert found(train, ucf101.parent) == [(folder.format(name, "08"), i) for i, name in enumerate(train.class_names)]
    assert found(test, ucf101.parent) == [(folder.format(name, "01"), i) for i, name in enumerate(train.class_names)]


def test_ucf101_without_its_class_file_has_the_101_classes(ucf101):
    (ucf101 / "classInd.txt").unlink()
    manifest = load_manifest(ucf101 / "testlist01.txt")
    assert manifest.class_names == packaged_names("ucf101")
    assert [manifest.class_names[item.label] for item in manifest.items] == ["ApplyEyeMakeup", "SoccerJuggling"]


def test_ucf101_s_class_file_may_be_named_and_serves_class_folders_too(ucf101):
    assert read_class_names(ucf101 / "classInd.txt") == ("ApplyEyeMakeup", "SoccerJuggling")
    manifest = load_manifest(ucf101.parent / "UCF-101", classes=ucf101 / "classInd.txt")
    assert [item.label for item in manifest.items] == [0, 0, 1, 1]


def test_a_number_that_is_not_the_folder_s_class_is_refused(ucf101):
    write(ucf101 / "trainlist01.txt", UCF_TRAIN.replace(".avi 2", ".avi 1"))
    with pytest.raises(DataError, match="trainlist01.txt row 2: 'SoccerJuggling' is not class 1 of the 2 classes"):
        load_manifest(ucf101 / "trainlist01.txt")


def test_a_list_of_the_same_paths_that_counts_from_0_is_read_as_before(ucf101):
    mine = write(ucf101 / "mine.txt", UCF_TRAIN.replace(".avi 1", ".avi 0").replace(".avi 2", ".avi 1"))
    assert [item.label for item in load_manifest(mine, root=ucf101.parent / "UCF-101").items] == [0, 1]


@pytest.fixture(params=["{name}/{video}", "{video}"], ids=["by class", "flat"])
def hmdb51(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for name in ("brush_hair", "wave"):
        lines = "".join(f"{name}_{number}.avi {number} \n" for number in range(3))
        for split in (1, 2):
            write(tmp_path / "testTrainMulti_7030_splits" / f"{name}_test_split{split}.txt", lines * (3 - split))
        for number in range(3):
            video = request.param.format(name=name, video=f"{name}_{number}.avi")
            write(tmp_path / "hmdb51_org" / video)
    return tmp_path / "testTrainMulti_7030_splits"


def test_hmdb51_is_named_by_its_folder_and_the_setting_says_which_part(hmdb51):
    data = DataConfig(train=str(hmdb51), val=str(hmdb51))
    train, val = (load_split(data, split) for split in ("train", "val"))
    assert [Path(item.path).name for item in train.items] == ["brush_hair_1.avi"] * 2 + ["wave_1.avi"] * 2
    assert [Path(item.path).name for item in val.items] == ["brush_hair_2.avi"] * 2 + ["wave_2.avi"] * 2
    assert [item.label for item in train.items] == [0, 0, 1, 1]
    assert train.class_names == ("brush_hair", "wave")


def test_a_file_of_hmdb51_stands_for_all_classes_of_its_split(hmdb51):
    manifest = load_split(DataConfig(train=str(hmdb51 / "wave_test_split2.txt")), "train")
    assert [Path(item.path).name for item in manifest.items] == ["brush_hair_1.avi", "wave_1.avi"]


def test_jester_s_lists_are_no_answers_of_something_something(tmp_path):
    source = write(tmp_path / "jester-v1-train.csv", "34870;Drumming Fingers\n56557;Sliding Two Fingers Right\n")
    for name in ("34870", "56557"):
        write(tmp_path / "20bn-jester-v1" / name / "00001.jpg")
    manifest = load_manifest(source)
    assert manifest.class_names == packaged_names("jester")
    assert [Path(item.path).name for item in manifest.items] == ["34870", "56557"]
    assert [manifest.class_names[item.label] for item in manifest.items] == [
        "Drumming Fingers",
        "Sliding Two Fingers Right",
    ]
    write(tmp_path / "jester-v1-labels.csv", "Sliding Two Fingers Right\nDrumming Fingers\n")
    assert [item.label for item in load_manifest(source).items] == [1, 0]


CHARADES = (
    "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length\n"
    '46GP8,HR43,Kitchen,6,7,Yes,"A person, cooking.",food;stove,"x, y",c092 11.90 21.20;c147 0.00 12.60,24.83\n'
    "N11GT,0KZ7,Stairs,6,7,Yes,z,broom,w,,18.33\n"
)


def test_charades_is_multi_label_over_whole_videos_or_single_label_over_its_actions(tmp_path):
    source = write(tmp_path / "Charades_v1_train.csv", CHARADES)
    for name in ("46GP8", "N11GT"):
        write(tmp_path / "Charades_v1_480" / f"{name}.mp4")
    many = load_manifest(source, multi_label=True)
    assert [(Path(item.path).stem, item.label, item.segment) for item in many.items] == [
        ("46GP8", (92, 147), None), ("N11GT", (), None)
    ]  # fmt: skip
    assert many.num_classes == 157 and many.class_names[92] == "c092"
    single = load_manifest(source)
    assert [(item.label, item.segment) for item in single.items] == [
        (92, Segment(11.9, 21.2)), (147, Segment(0.0, 12.6))
    ]  # fmt: skip


def test_charades_classes_are_called_as_in_the_file_beside_the_list(tmp_path):
    source = write(tmp_path / "Charades_v1_train.csv", CHARADES)
    write(tmp_path / "46GP8.mp4")
    write(tmp_path / "N11GT.mp4")
    write(tmp_path / "Charades_v1_classes.txt", "c092 Watching a window\nc147 Someone is cooking something\n")
    manifest = load_manifest(source)
    assert manifest.class_names == ("Watching a window", "Someone is cooking something")
    assert [item.label for item in manifest.items] == [0, 1]


def test_an_action_of_another_form_is_named_by_its_row(tmp_path):
    source = write(tmp_path / "Charades_v1_train.csv", CHARADES.replace("c092 11.90 21.20", "c092 11.90"))
    with pytest.raises(DataError, match=r"Charades_v1_train.csv row 2: action 'c092 11.90' is not of the form"):
        load_manifest(source)


def test_diving48_counts_from_0_and_its_vocabulary_names_the_classes(tmp_path):
    entries = [{"vid_name": f"dive_0000{i}", "label": i, "start_frame": 0, "end_frame": 160} for i in range(2)]
    source = write(tmp_path / "Diving48_V2_train.json", json.dumps(entries))
    for entry in entries:
        write(tmp_path / "rgb" / f"{entry['vid_name']}.mp4")
    assert load_manifest(source).class_names is None
    vocabulary = [["Back", "15som", "05Twis", "FREE"], ["Back", "15som", "15Twis", "FREE"]]
    write(tmp_path / "Diving48_vocab.json", json.dumps(vocabulary))
    manifest = load_manifest(source)
    assert manifest.class_names == ("Back 15som 05Twis FREE", "Back 15som 15Twis FREE")
    assert [(Path(item.path).name, item.label, item.segment) for item in manifest.items] == [
        ("dive_00000.mp4", 0, None), ("dive_00001.mp4", 1, None)
    ]  # fmt: skip


EPIC = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
    "P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,1,door,0,['door'],[0]\n"
    "P01_01_1,P01,P01_01,00:00:02.629,00:00:04.37,00:01:06.17,262,370,turn on light,turn-on,0,light,1,['light'],[1]\n"
)


@pytest.fixture
def epic(tmp_path: Path) -> Path:
    write(
        tmp_path / "EPIC_100_verb_classes.csv", "id,key,instances,category\n0,turn-on,\"['on']\",x\n1,open,['open'],x\n"
    )
    return write(tmp_path / "EPIC_100_train.csv", EPIC)


@pytest.mark.parametrize("place", ["EPIC-KITCHENS/P01/videos/P01_01.MP4", "P01/P01_01.mp4", "videos/P01_01.MP4"])
def test_epic_s_rows_are_segments_by_time_with_the_label_that_is_set(epic, place):
    write(epic.parent / place)
    manifest = load_split(DataConfig(train=str(epic), label="verb"), "train")
    assert found(manifest, epic.parent) == [(place, 1), (place, 0)]
    assert [item.segment for item in manifest.items] == [Segment(0.14, 3.37), Segment(4.37, 66.17)]
    assert manifest.class_names == ("turn-on", "open")
    nouns = load_split(DataConfig(train=str(epic), label="noun"), "train")
    assert [item.label for item in nouns.items] == [0, 1] and nouns.class_names is None


def test_epic_s_frames_count_from_1_and_the_last_is_inside(epic):
    write(epic.parent / "P01" / "rgb_frames" / "P01_01" / "frame_0000000001.jpg")
    manifest = load_split(DataConfig(train=str(epic), label="verb"), "train")
    assert [item.segment for item in manifest.items] == [Segment(7, 202, "frames"), Segment(261, 370, "frames")]


def test_epic_without_a_choice_says_which_there_are(epic):
    with pytest.raises(DataError, match="EPIC-KITCHENS-100, with two labels: set data.label to verb or noun"):
        load_manifest(epic)


def test_moments_in_time_has_votes_behind_the_class(tmp_path):
    rows = "flushing/getty-a_4.mp4,flushing,3,0\nclapping/flickr-0-3_1.mp4,clapping,4,0\n"
    source = write(tmp_path / "trainingSet.csv", rows)
    for line in rows.splitlines():
        write(tmp_path / "training" / line.split(",")[0])
        write(tmp_path / "validation" / line.split(",")[0])
    manifest = load_manifest(source)
    assert found(manifest, tmp_path) == [
        ("training/flushing/getty-a_4.mp4", 1), ("training/clapping/flickr-0-3_1.mp4", 0)
    ]  # fmt: skip
    write(tmp_path / "moments_categories.txt", "flushing,0\nclapping,1\n")
    assert [item.label for item in load_manifest(source).items] == [0, 1]
    write(tmp_path / "validationSet.csv", rows)
    assert "validation" in load_manifest(tmp_path / "validationSet.csv").items[0].path
