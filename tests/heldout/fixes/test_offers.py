"""Which request body fixes a finding, and how bodies are combined and written as commands."""

import pytest

from heldout.fixes.bodies import combine_bodies, list_options
from heldout.fixes.changes import LinearChange, VersionChanges, VersionSpec, list_refusals, parse_index
from heldout.fixes.offers import advise, make_offer, make_offers, offer_renamed_test, offer_undone_pixels
from heldout.stored.audit import AuditFinding
from heldout.stored.gap import LabelsRenamed, PairedTally, PixelsUndone, Tally

TALLY = Tally(count=4, correct=2, loss=0.5, loss_variance=0.1)
CHANGE = PairedTally(count=4, gained=1, lost=0, loss=0.1, loss_variance=0.1)


def found(code: str, **numbers: object) -> AuditFinding:
    return AuditFinding(code=code, severity="critical", numbers=numbers, explanation="", what_to_do="")


OFFERS = [
    (found("leakage"), {"drop_copies": True}),
    (found("label_conflicts"), {"drop_copies": True}),
    (found("duplicates"), {"drop_copies": True}),
    (found("group_across_splits"), {"resplit": True}),
    (found("class_missing", test={"count": 1}), {"resplit": True}),
    (found("class_shift"), {"resplit": True}),
    (
        found("label_order_mismatch", split="validation", renamed={"a": "b", "b": "a"}),
        {"rename_classes": {"validation": {"a": "b", "b": "a"}}},
    ),
    (found("inverted_values", split="test"), {"pixel_values": {"test": "invert"}}),  # as earlier releases stored it
    (found("channel_order_mismatch", split="validation"), {"pixel_values": {"validation": "swap_channels"}}),
    (
        found("scale_mismatch", split="test", undone_by={"test": {"factor": 255.0}}),
        {"pixel_values": {"test": {"factor": 255.0}}},
    ),
    (
        found("orientation_mismatch", split="test", undone_by={"test": "transpose"}),
        {"pixel_values": {"test": "transpose"}},
    ),
    (found("scale_mismatch", split="test"), None),
    (found("split_shift", split="test"), None),
    (found("class_imbalance"), None),
    (found("test_too_small"), None),
    (found("blank_images"), None),
    (found("blank_images", rows=[3, 55]), {"exclude": [3, 55]}),
]


@pytest.mark.parametrize(("finding", "body"), OFFERS, ids=lambda value: getattr(value, "code", ""))
def test_a_finding_of_an_audit_offers_the_body_that_fixes_it(finding, body):
    assert make_offer(finding) == body
    if body is not None:
        assert VersionChanges.model_validate(body).body() == body


def test_copies_are_dropped_only_together_with_a_label_renaming():
    """With wrong labels, copies contradict each other and would all be dropped."""
    renaming = {"rename_classes": {"test": {"a": "b", "b": "a"}}}
    order = found("label_order_mismatch", split="test", renamed={"a": "b", "b": "a"})
    findings = [found("leakage"), order, found("inverted_values", split="test"), found("test_too_small")]
    assert make_offers(findings) == [
        {"drop_copies": True, **renaming},
        renaming,
        {"pixel_values": {"test": "invert"}},
        None,
    ]
    assert make_offers([found("leakage"), found("test_too_small")]) == [{"drop_copies": True}, None]


def test_splits_that_share_copies_and_differ_are_split_again_with_all_images():
    """Without the copies alone they would still differ, and a network would train on fewer images."""
    leak = found("leakage", test_in_train={"images": 236}, validation_in_train={"images": 0})
    shift = found("split_shift", split="test")
    assert make_offers([leak, shift]) == [{"resplit": True}, None]
    assert make_offers([leak, found("class_shift")]) == [{"resplit": True}] * 2
    text = advise(leak, make_offers([leak, shift])[0], 3781)
    assert text.startswith("Split all 3,781 images again: the 236 images with a copy in another split stay together")
    assert "no image is lost" in text
    # Pixel values that can be undone do not make splits differ by nature.
    undone = found("scale_mismatch", split="test", undone_by={"test": "invert"})
    assert make_offers([leak, shift, undone])[0] == {"drop_copies": True}
    small = replace_severity(shift, "info")
    assert make_offers([leak, small])[0] == {"drop_copies": True}


def replace_severity(finding: AuditFinding, severity: str) -> AuditFinding:
    return finding.model_copy(update={"severity": severity})


def pixels(choices: tuple[str, str], *parameters: dict[str, float]) -> PixelsUndone:
    return PixelsUndone(choices=choices, parameters=parameters or ({}, {}), tally=TALLY, change=CHANGE)


@pytest.mark.parametrize(
    ("measured", "change"),
    [
        (pixels(("inversion", "inversion"), {"factor": -1.0, "offset": 255.0}, {}), "invert"),
        (pixels(("channel_order", "channel_order")), "swap_channels"),
        (pixels(("turn_left", "turn_left")), "turn_left"),
        (pixels(("scale", "scale"), {"factor": 255.0}, {"factor": 255.0}), {"factor": 255.0}),
        (
            pixels(("brightness", "brightness"), {"factor": 2.0, "offset": 4.0, "top": 9.0}, {"factor": 1.0}),
            {"factor": 1.5, "offset": 2.0},
        ),
        (
            pixels(("brightness", "brightness"), {"offset": 4.0, "top": 9.0}, {"offset": 6.0, "top": 7.0}),
            {"offset": 5.0, "top": 8.0},
        ),
        (pixels(("inversion", "brightness")), None),
        (pixels(("none", "none")), None),
    ],
)
def test_pixels_are_fixed_if_both_halves_of_the_test_images_agree(measured, change):
    body = offer_undone_pixels("test", measured)
    assert body == (None if change is None else {"pixel_values": {"test": change}})
    assert body is None or VersionChanges.model_validate(body).body() == body


def test_the_total_length_of_new_class_names_is_bounded():
    classes = [f"{number}" for number in range(300)]
    renamed = {name: name.rjust(3, "0") + "é" * 125 for name in classes}
    changes = VersionChanges(rename_classes=renamed)
    [refusal] = list_refusals(changes, classes=classes, images=600, shape=(8, 8, 1))
    assert (refusal.pointer, "75,900 bytes; at most 65,536" in refusal.detail) == ("/rename_classes", True)


def labels(first: tuple[int, ...] | None, second: tuple[int, ...] | None) -> LabelsRenamed:
    return LabelsRenamed(renamings=(first, second), tally=TALLY, change=CHANGE)


def test_labels_are_renamed_if_both_halves_of_the_test_images_agree():
    classes = ("a", "b", "c")
    assert offer_renamed_test(labels((1, 0, 2), (1, 0, 2)), classes) == {
        "rename_classes": {"test": {"a": "b", "b": "a"}},
    }
    assert offer_renamed_test(labels((1, 0, 2), (1, 2, 0)), classes) is None
    assert offer_renamed_test(labels((1, 0, 2), None), classes) is None
    assert offer_renamed_test(labels((1, 0, 2), (1, 0, 2)), ()) is None  # a history of another program


def test_combined_bodies_give_precedence_to_the_first():
    first = {"pixel_values": {"test": "invert"}, "drop_copies": True}
    other = {"pixel_values": {"test": "transpose", "validation": "invert"}, "rename_classes": {"test": {"a": "b"}}}
    assert combine_bodies([first, other, {}]) == {
        "pixel_values": {"test": "invert", "validation": "invert"},
        "drop_copies": True,
        "rename_classes": {"test": {"a": "b"}},
    }


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ({"drop_copies": True}, "--drop-copies"),
        ({"resplit": True}, "--resplit"),
        ({"resplit": {"seed": 3, "test": 0.3}}, "--resplit --seed 3 --test 0.3"),
        (
            {"rename_classes": {"old": "new", "test": {"a": "b"}}},
            "--rename-classes old=new --rename-classes test:a=b",
        ),
        (
            {"pixel_values": {"train": "invert", "test": {"factor": 0.5, "offset": -3.0}}},
            "--pixel-values train=invert --pixel-values test=factor:0.5,offset:-3.0",
        ),
    ],
)
def test_a_body_is_written_as_the_equivalent_options(body, options):
    assert list_options(body) == options.split()


def test_changes_that_need_a_file_have_no_options():
    assert list_options({"exclude": [1]}) is None
    assert list_options({"rename_classes": {"a=b": "c"}}) is None


def test_a_body_has_the_given_changes_without_the_name():
    body = {"exclude": [1, "2"], "relabel": {"a.png": "cat"}, "pixel_values": {"test": {"factor": 2.0}}}
    changes = VersionSpec.model_validate({**body, "name": "pets", "drop_copies": None}).changes()
    assert type(changes) is VersionChanges
    assert changes.body() == body
    assert changes.pixel_values.group_by_split() == {"test": LinearChange(factor=2.0)}


def test_only_text_of_digits_is_a_position():
    assert [parse_index(image) for image in (3, "12", "012", "a.png", "x[3]", "٣", "99999999999")] == [
        *(3, 12, 12),
        *(None, None, None, None),
    ]
