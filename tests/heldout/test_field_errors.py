"""The place of an error in the request body, derived from the location that the validator reports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from heldout.spec.documents import make_pointer
from heldout.spec.field_errors import SHOWN_ERRORS, list_field_errors
from heldout.spec.job import JobSpec


def find_errors(body):
    with pytest.raises(ValidationError) as refused:
        JobSpec.model_validate(body)
    return list_field_errors(refused.value.errors(), body, JobSpec)


def resolve(pointer: str, body):
    """Return the value at a pointer, following RFC 6901."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        body = body[int(name)] if isinstance(body, list) else body[name]
    return body


@given(st.lists(st.text(max_size=5), max_size=4))
def test_a_pointer_leads_to_its_value(names):
    body = value = {}
    for name in names:
        value[name] = {}
        value = value[name]
    assert resolve(make_pointer(names), body) is value


def test_tags_of_unions_are_not_part_of_a_pointer():
    body = {
        "dataset": "d",
        "network": {"blocks": [{"filters": 1}]},
        "training": {"schedule": {"name": "cosine", "x": 1}},
    }
    assert [error.pointer for error in find_errors(body)] == ["/training/schedule/x"]


@pytest.mark.parametrize(
    ("training", "pointer"),
    [
        ({"optimizer": {"momentum": 0.9}}, "/training/optimizer/momentum"),
        ({"optimizer": {"name": "sgd", "weight_decay": 0.1}}, "/training/optimizer/weight_decay"),
        ({"epochs": 3, "schedule": {"name": "cosine", "warmup_epochs": 3}}, "/training/schedule/warmup_epochs"),
    ],
)
def test_a_field_that_conflicts_with_another_is_pointed_to(training, pointer):
    [error] = find_errors({"dataset": "d", "network": {"blocks": [{"filters": 1}]}, "training": training})
    assert error.pointer == pointer
    assert error.detail.startswith(f"`{pointer.rpartition('/')[2]}` ")


def test_a_field_with_the_name_of_a_tag_is_found():
    schedule = {"name": "cosine", "cosine": 1}
    body = {"dataset": "d", "network": {"blocks": [{"filters": 1}]}, "training": {"schedule": schedule}}
    assert [error.pointer for error in find_errors(body)] == ["/training/schedule/cosine"]


def test_the_best_fitting_member_of_a_union_is_reported():
    weights = {"3": "heavy"}
    body = {"dataset": "d", "network": {"blocks": [{"filters": 1}]}, "training": {"class_weights": weights}}
    [error] = find_errors(body)
    assert error.pointer == "/training/class_weights/3"
    assert error.detail == 'Received "heavy"; input should be a valid number.'


def test_equally_bad_members_of_a_union_are_all_reported():
    body = {"dataset": "d", "network": {"blocks": [{"filters": 1}]}, "training": {"class_weights": 3}}
    [error] = find_errors(body)
    assert error.detail == "Received 3; input should be 'balanced'. Or: Received 3; input should be a valid object."


def test_a_list_whose_items_are_wrong_is_not_called_too_short():
    assert [error.pointer for error in find_errors({"dataset": "d", "network": {"blocks": [{}]}})] == [
        "/network/blocks/0/filters"
    ]


def test_an_unknown_choice_is_pointed_to_with_all_choices():
    schedule = {"name": "cosinus", "warmup_epochs": 1}
    [error] = find_errors({"dataset": "d", "network": {"blocks": [{"filters": 1}]}, "training": {"schedule": schedule}})
    assert error.pointer == "/training/schedule/name"
    assert error.detail == (
        "Received \"cosinus\"; expected one of 'constant', 'cosine', 'reduce_on_plateau', 'one_cycle', 'step'."
    )


def test_a_field_of_another_choice_is_not_suggested_in_its_own_place():
    body = {"dataset": "d", "network": {"blocks": [{"filters": 1}]}, "training": {"schedule": {"factor": 0.5}}}
    [error] = find_errors(body)
    assert error.detail == "There is no such field. It belongs to another kind of this object."


def test_long_received_values_are_shortened():
    [error] = find_errors({"dataset": "d", "network": {"blocks": [{"filters": "x" * 10_000}]}})
    assert len(error.detail) < 200


def test_the_number_of_reported_errors_is_limited():
    body = {"dataset": "d", "network": {"blocks": [{"filters": 1}]}, **{f"field{i}": 1 for i in range(1000)}}
    assert len(find_errors(body)) == SHOWN_ERRORS


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({"epochs": 3}, "`training.epochs`"),
        ({"network": {"blocks": [{"fliters": 8}]}}, "`network.blocks.0.filters`"),
        (
            {"network": {"blocks": [{"filters": 8}], "dropout": 0.5}},
            "`network.blocks.0.dropout` or `network.dense.0.dropout`",
        ),
        ({"training": {"batchsize": 8}}, "`training.batch_size`"),
        ({"training": {"learning_rate": 8}}, "`training.optimizer.learning_rate`"),
        ({"training": {"schedule": {"name": "cosine", "warm_up_epochs": 3}}}, "`training.schedule.warmup_epochs`"),
    ],
)
def test_an_unknown_field_gets_a_suggestion(changes, meant):
    errors = find_errors({"dataset": "d", "network": {"blocks": [{"filters": 1}]}} | changes)
    assert f"There is no such field. Did you mean {meant}?" in [error.detail for error in errors]


@pytest.mark.parametrize("name", ["xyz", "x" * 10_000, ""])
def test_nothing_is_suggested_if_no_field_is_similar(name):
    [error] = find_errors({"dataset": "d", "network": {"blocks": [{"filters": 1}]}, name: 1})
    assert error.detail == "There is no such field."


def test_unsupported_features_are_refused_with_an_alternative():
    block = {"filters": 1, "shortcut": True, "depthwise": True}
    shortcut, depthwise, task = find_errors({"dataset": "d", "network": {"blocks": [block]}, "task": "detection"})
    assert shortcut.pointer == "/network/blocks/0/shortcut"
    assert "`residual: true`" in shortcut.detail
    assert "name it in `network.model`" in depthwise.detail
    assert "Detection, segmentation and text are not supported." in task.detail
    assert "Did you mean" not in shortcut.detail + task.detail


def test_the_suggestion_for_a_misspelled_field_has_its_position():
    body = {"dataset": "d", "network": {"blocks": [{"filters": 1}, {"filters": 1, "dropuot": 0.2}]}}
    [error] = find_errors(body)
    assert error.detail.endswith("Did you mean `network.blocks.1.dropout`?")
