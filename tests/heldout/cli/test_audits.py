"""Files of an upload that are not in its dataset are counted and named."""

from heldout.documents.audit import list_notes


def test_left_out_files_are_counted_and_the_first_are_named():
    names = [f"seg_pred/{number}.jpg" for number in range(7)]
    notes = list_notes(
        {
            "left_out": [
                {"what": "images without labels in the folder 'seg_pred'", "count": 1234, "names": names},
                {"what": "folders without images", "count": 1, "names": ["train/bird"]},
            ],
            "passed_over": {"count": 1, "names": ["README.txt"]},
            "splits": {"train": "upload", "validation": "cut from train: a tenth", "test": "upload"},
            "notes": ["White is 255."],
        }
    )
    assert notes == [
        "validation split cut from the training images at random",
        f"left out: images without labels in the folder 'seg_pred': 1,234 ({', '.join(names[:5])} and 1,229 more)",
        "left out: folders without images: 1 (train/bird)",
        "left out: files that are not images: 1 (README.txt)",
        "note: White is 255.",
    ]


def test_nothing_is_reported_if_everything_was_used_or_nothing_is_known():
    assert list_notes({"left_out": [], "passed_over": {"count": 0, "names": []}}) == list_notes({}) == []
