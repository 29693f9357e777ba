"""`heldout studies seal`, `send` and `close`: a judge with a budget of looks, from files."""

import csv
import json
import re

import numpy as np
import pytest

from models.store import keys

CLASSES = ["cat", "dog", "owl"]
TRUTH = np.random.default_rng(0).integers(0, 3, 300)


@pytest.fixture
def write(tmp_path):
    """Write a CSV of labels, or of answers that are right this often."""

    def write_file(name, last, right=1.0, seed=0, splits=("validation", "test")):
        draw = np.random.default_rng(seed)
        answers = np.where(draw.random(300) < right, TRUTH, (TRUTH + 1) % 3)
        with (tmp_path / name).open("w", newline="") as file:
            rows = [
                (split, f"{split}/{place}.png", CLASSES[answers[place]]) for split in splits for place in range(300)
            ]
            csv.writer(file).writerows([("split", "image", last), *rows])
        return name

    return write_file


def test_candidates_are_judged_until_the_looks_are_spent_and_each_attempt_is_listed(heldout, write, service):
    opened = heldout("studies", "seal", write("labels.csv", "label"), "--looks", "2", "--name", "pets")
    assert opened.returncode == 0, opened.stderr
    assert "The judge waits for the base." in opened.stdout
    sent = {}
    for name, right, seed in (("base", 0.6, 1), ("luck", 0.6, 2), ("better", 0.9, 3), ("late", 1.0, 4)):
        sent[name] = heldout("studies", "send", "pets", write(f"{name}.csv", "answer", right, seed), "--name", name)
    assert {name: result.returncode for name, result in sent.items()} == {
        "base": 0,
        "luck": 12,
        "better": 0,
        "late": 13,
    }
    assert sent["luck"].stdout.startswith("luck: not surely better.")
    assert "by at least 20 points" in sent["better"].stdout
    [command] = re.findall(r"All 2 looks of this judge are spent. Close it with `heldout (.+?)`", sent["late"].stderr)
    shown = heldout("studies", "show", "pets").stdout
    with service.database.read() as session:
        [key] = keys.list_of_owner(session, "me")
    for attempt in ("base", "1"), ("luck", "2"), ("better", "3"), ("late", "4"):
        [line] = [line for line in shown.splitlines() if line.split()[:2] == list(attempt)]
        assert key.id in line, "who"
        assert " UTC" in line, "when"
    assert "2 of 2 looks" in heldout("studies").stdout
    closed = json.loads(heldout(*command.split(), "--json").stdout)
    assert (closed["conclusion"]["remedy"], closed["ledger"]["test_reads"]) == ("better", 2)
    report = heldout("studies", "report", "pets").stdout
    assert "What was tried?" in report
    assert 'On test, "better" is better than the base.' in report


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text.replace("answer", "label", 1), "missing: answer"),
        (lambda text: text.replace("validation/7.png", "validation/3.png"), "lines 5 and 9 name the same validation"),
        (lambda text: text.replace("test/7.png", ".\\\\test//3.png"), "lines 305 and 309 name the same test image"),
        (lambda text: text.replace("validation,", ",", 1), "line 2 has no split"),
        (lambda text: text.replace("owl", "cow"), "expected one of the judge's classes"),
        (lambda text: text.replace("test,", "train,"), "expected validation or test"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-9]), "Received answers to 291 test images"),
    ],
)
def test_a_file_that_cannot_be_judged_is_refused_with_the_reason(heldout, write, tmp_path, change, why):
    assert heldout("studies", "seal", write("labels.csv", "label"), "--name", "pets").returncode == 0
    file = tmp_path / write("base.csv", "answer", 0.6, 1)
    file.write_text(change(file.read_text()))
    refused = heldout("studies", "send", "pets", "base.csv", "--name", "base")
    assert refused.returncode == 2
    assert why in refused.stderr
