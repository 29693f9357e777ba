"""Files of predictions: the accepted names, and what hostile files can do."""

import hashlib
import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from analysis.answers.answers import PredictionsRefused
from analysis.answers.external import build_evaluation
from analysis.answers.file import read_predictions
from analysis.answers.received import ExternalAnswers, GivenSplit, receive_answers
from analysis.answers.table import MAX_NAMES, read_table
from heldout.integrations.labeled_splits import number_copies
from tests.analysis.answers.made import arrays, predicted

LABELS, PROBABILITIES = predicted(0.9, 90, 0, 3)
MIB = 1024 * 1024
NAMES = ["cat", "dog", "fox"]


def read(content: bytes, max_bytes: int = MIB, classes=None) -> ExternalAnswers:
    return read_predictions(io.BytesIO(content), max_bytes, classes)


def npz(compressed: bool = False, **content) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **content)
    return file.getvalue()


def zipped(name: str, content: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def assert_same(found: ExternalAnswers, *, is_rounded: bool = False) -> None:
    assert list(found.splits) == ["test"]
    test = found.splits["test"]
    assert np.array_equal(test.labels, LABELS)
    assert np.array_equal(test.classes, PROBABILITIES.argmax(axis=1))
    assert test.probabilities == pytest.approx(PROBABILITIES, abs=1e-3 if is_rounded else 1e-6)


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ("test_labels", "test_probabilities"),
        ("y_test", "y_prob_test"),
        ("y_true_test", "probs_test"),
        ("test/targets", "test/softmax"),
        ("Test_Labels", "test-proba"),
    ],
)
def test_synonymous_names_are_accepted(labels, probabilities):
    assert_same(read(npz(**{labels: LABELS, probabilities: PROBABILITIES, "x_test": np.zeros((90, 2))})))


def test_arrays_may_give_the_split_of_each_image_and_the_class_names():
    both = {"labels": np.repeat(LABELS, 2), "probs": np.repeat(PROBABILITIES, 2, axis=0)}
    found = read(npz(split=np.array(["train", "test"] * 90), classes=np.array(NAMES), **both))
    assert found.classes == tuple(NAMES)
    assert np.array_equal(found.splits["test"].labels, LABELS)
    assert np.array_equal(found.splits["train"].labels, LABELS)


def table(separator: str, header: list[str], rows: list[list[object]]) -> bytes:
    return "\n".join(separator.join(map(str, row)) for row in [header, *rows]).encode()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_has_a_line_for_each_image(separator):
    rows = [["test", NAMES[label], *row] for label, row in zip(LABELS, PROBABILITIES, strict=True)]
    header = ["split", "label", *(f"p_{name}" for name in NAMES)]
    assert_same(read(table(separator, header, rows)))
    named = table(separator, ["file", *header], [[f"{place}.png", *row] for place, row in enumerate(rows)])
    assert read(b"\xef\xbb\xbf" + named).classes == tuple(NAMES)


def test_a_table_may_have_decimal_commas_answers_and_hashes():
    rounded = [[f"{value:.4f}".replace(".", ",") for value in row] for row in PROBABILITIES]
    rows = [["test", label, *row] for label, row in zip(LABELS, rounded, strict=True)]
    assert_same(read(table(";", ["subset", "y_true", "prob_0", "prob_1", "prob_2"], rows)), is_rounded=True)
    answers = PROBABILITIES.argmax(axis=1)
    # With an answer, `probability` belongs to the answer, and not to the second class.
    rows = [["val", label, answer, f"h{label}", 0.9] for label, answer in zip(LABELS, answers, strict=True)]
    found = read(table(",", ["split", "target", "y_pred", "hash", "probability"], rows))
    assert np.array_equal(found.splits["validation"].classes, answers)
    assert found.hashes["validation"] == [f"h{label}" for label in LABELS]


HASHES = "test_hash.npy"
HEADER = b"\x93NUMPY\x01\x00"


def header(description: str) -> bytes:
    text = description.encode()
    return HEADER + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npz(test_labels=np.array([0, "a", None], object)), "never unpickled"),
        (npz(test_labels=LABELS, test_logits=PROBABILITIES), "apply a softmax to each row"),
        (npz(test_probabilities=PROBABILITIES), "there is no array `test_labels`"),
        (npz(labels=LABELS, probabilities=PROBABILITIES), "expected arrays such as `test_labels`"),
        (npz(test_labels=LABELS, y_test=LABELS), "could both be the labels of test"),
        (npz(test_labels=LABELS.astype(complex)), "expected numbers or texts"),
        (npz(test_labels=np.zeros((2, 2, 2))), "at most 2 dimensions"),
        (npz(**{f"a{number}": LABELS for number in range(101)}), "there are 101 arrays"),
        (npz(compressed=True, test_labels=np.zeros(2 * MIB, np.uint8)), "2,097,152 bytes, which is too much"),
        (zipped("test_labels.npy", b"nothing"), "has a header that cannot be read"),
        (
            zipped("test_labels.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (9,)}")),
            "does not match",
        ),
        (zipped(HASHES, header("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999, 9)}")), "too much"),
        (zipped(HASHES, header("{'descr': '|V0', 'fortran_order': False, 'shape': (9,)}")), "expected numbers"),
        (zipped(HASHES, header("(" * 5000)), "has a header that cannot be read"),
        (zipped(HASHES, b"x" * 999, zipfile.ZIP_LZMA), "compressed in a way that numpy does not use"),
        (npz(test_labels=LABELS)[:-40], "not a readable .npz"),
        (b"PK\x03\x04", "not a readable .npz"),
        (HEADER + b"1234", "received one array (.npy)"),
        (b"", "expected the columns `split`, `label` and `answer`"),
        (b"epoch,loss,val_loss\n1,2,3", "expected the columns `split`, `label` and `answer`"),
        (b"split,label,answer\ntest,1,1\nholdout,1,1", "line 3 has the split 'holdout'"),
        (b"split,label,answer\ntest,1", "line 2 has 2 values, but the first line has 3 names"),
        (b"split,label,p_0,p_1\ntest,1,0.5,half", "line 2 has the probability 'half'"),
        (b"split,label,answer\ntest,1,\xff", "neither an .npz nor text in UTF-8 (byte 26)"),
        (b"split,label,y_true,answer\ntest,1,0,1\n", "the columns `label`, `y_true` could both be the labels"),
        (b'split,label,answer\ntest,1,"' + b"x" * 200_000, "the table cannot be read"),
    ],
)
def test_a_file_without_predictions_is_refused_with_what_was_expected(content, words):
    with pytest.raises(PredictionsRefused) as refused:
        read(content)
    assert words in str(refused.value)


def test_a_damaged_byte_leads_to_a_refusal_or_to_answers():
    whole = npz(compressed=True, **arrays(test=(LABELS, PROBABILITIES)))
    draw = np.random.default_rng(0)
    for place in draw.integers(0, len(whole), 150):
        damaged = bytearray(whole)
        damaged[place] ^= int(draw.integers(1, 256))
        try:
            read(bytes(damaged))
        except PredictionsRefused:
            continue


@pytest.mark.parametrize("line", [b"test,a,1,0\n", b"test,b,0,1\n"])
def test_a_large_table_takes_little_more_memory_than_its_numbers(line):
    """A row of Python's own numbers would take ten times as much as the eight bytes of each."""
    table = b"split,label,p_a,p_b\n" + line * 30_000
    tracemalloc.start()
    try:
        read_table(io.BytesIO(table))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 14 * len(table)


def test_a_table_with_too_many_class_names_is_refused_while_it_is_read():
    lines = b"".join(b"test,%d,0\n" % number for number in range(MAX_NAMES + 1))
    with pytest.raises(PredictionsRefused, match="more than 4,000 different labels"):
        read_table(io.BytesIO(b"split,label,answer\n" + lines))


def test_a_file_that_unpacks_a_thousandfold_is_refused_and_a_plain_one_is_read():
    labels, answers = np.zeros(600_000, np.int8), np.ones(600_000, np.int8)
    content = {"test_labels": labels, "test_answers": answers, "classes": np.array(NAMES)}
    with pytest.raises(PredictionsRefused, match=r"`?test_.* has 600,000 values.*numpy\.savez instead"):
        read(npz(compressed=True, **content), 64 * MIB)
    assert len(read(npz(**content), 64 * MIB).splits["test"]) == 600_000


@pytest.mark.parametrize("dtype", ["int64", "S20", "U20"])
def test_hashes_in_arrays_identify_copies_as_lists_do(dtype):
    hashes = np.arange(len(LABELS)).astype(dtype)
    content = {"test_labels": LABELS, "test_probabilities": PROBABILITIES}
    content |= {"train_labels": LABELS[:10], "train_probabilities": PROBABILITIES[:10]}
    evaluation = build_evaluation(read(npz(**content, train_hashes=hashes[:10], test_hashes=hashes)))
    assert evaluation.gap.test_copies.copied.count == 10
    other = hashes.astype("S20" if dtype == "U20" else "U20")
    apart = build_evaluation(read(npz(**content, train_hashes=other[:10], test_hashes=hashes)))
    assert apart.gap.test_copies.copied is None, "bytes, texts and numbers are never equal"


@pytest.mark.parametrize("as_list", [True, False])
def test_numbered_copies_are_still_found_in_training(as_list):
    """Studies need a different id for each image, so `heldout.torch` numbers equal ones."""
    digests = [hashlib.sha256(bytes([place])).hexdigest() for place in range(len(LABELS) - 2)]
    test = number_copies([*digests, digests[0], digests[20]])
    assert len(set(test)) == len(LABELS)
    assert test[-2:] == [f"{digests[0]}#2", f"{digests[20]}#2"]
    train, test = (hashes if as_list else np.array(hashes) for hashes in (number_copies(digests[:10]), test))
    received = receive_answers(
        {
            "train": GivenSplit(LABELS[:10], PROBABILITIES[:10], hashes=train),
            "test": GivenSplit(LABELS, PROBABILITIES, hashes=test),
        }
    )
    assert build_evaluation(received).gap.test_copies.copied.count == 11
