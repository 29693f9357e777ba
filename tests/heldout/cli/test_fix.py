"""`heldout datasets fix`: what it requests, shows, and refuses before anything is sent."""

import json
import threading
from types import SimpleNamespace

import pytest

from heldout.cli import uploads
from heldout.cli.outcome import Exit
from heldout.diagnosis import Diagnosis
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.remedies import suggest_data_fix
from heldout.documents.audit import build_audit
from heldout.documents.blocks import Action
from heldout.documents.diagnosis import build_diagnosis
from heldout.documents.terminal import render_terminal
from heldout.fixes.offers import make_finding
from heldout.stored.audit import AuditExample, AuditFinding
from heldout.views.audit import AuditFindingView, AuditView
from heldout.views.diagnosis import DiagnosisView


def finding(code: str, severity: str = "critical", **numbers: object) -> AuditFinding:
    return AuditFinding(
        code=code, severity=severity, numbers=numbers, explanation=f"About {code}.", what_to_do="Fix it."
    )


INVERTED = finding("inverted_values", split="test")
LEAKAGE, DUPLICATES = finding("leakage"), finding("duplicates", "info")


@pytest.fixture
def pets(service, client):
    """A dataset whose audit has found two faults that can be fixed, and duplicates."""
    made = client.datasets.create({"name": "pets"})
    client.datasets.upload(made.id, [b"not looked at"])
    service.accept(service.claim_when_there_is_one(), INVERTED, LEAKAGE, DUPLICATES)
    return client.datasets.get(made.id)


def request_version(heldout, client, *arguments: str) -> dict:
    """Run the command and return the changes of the version that it creates."""
    ended = heldout("datasets", "fix", "digits", *arguments, "--detach")
    assert ended.returncode == 0, ended.stderr
    made = client.datasets.get(ended.stdout.strip())
    assert made.derived_from.dataset.name == "digits"
    return made.derived_from.changes


def test_every_change_can_be_requested_by_options(heldout, client, tmp_path):
    (tmp_path / "fixes.csv").write_text("\ufeffprobability,image,label\n0.9,3,7\n0.8,12,1\n", encoding="utf-8")
    (tmp_path / "list.txt").write_text("4\n\n5\n")
    (tmp_path / "columns.csv").write_text("image,patient,day\n3,p1,\n12,p2,monday\n", encoding="utf-8")
    assert request_version(heldout, client, "--drop-copies") == {"drop_copies": True}
    columns = {"patient": {"3": "p1", "12": "p2"}, "day": {"12": "monday"}}
    assert request_version(heldout, client, "--columns", "columns.csv") == {"columns": columns}
    assert request_version(
        heldout, client, "--relabel", "fixes.csv", "--exclude", "list.txt", "--resplit", "--seed", "3"
    ) == {
        "relabel": {"3": "7", "12": "1"},
        "exclude": ["4", "5"],
        "resplit": {"seed": 3},
    }
    renamed = ("--rename-classes", "0=zero", "--rename-classes", "test:1=2", "--rename-classes", "test:2=1")
    assert request_version(heldout, client, *renamed)["rename_classes"] == {"0": "zero", "test": {"1": "2", "2": "1"}}
    values = ("--pixel-values", "test=invert", "--pixel-values", "train=factor:0.5,offset:-3")
    assert request_version(heldout, client, *values, "--name", "light")["pixel_values"] == {
        "train": {"factor": 0.5, "offset": -3.0},
        "test": "invert",
    }
    assert client.datasets.get("light").version == 1


def test_invalid_changes_are_refused_before_anything_is_sent(heldout, client, pets, tmp_path):
    for name, content in {"none.csv": "", "bare.csv": "3,7\n", "twice.csv": "image,label\n3,7\n3,8\n"}.items():
        (tmp_path / name).write_text(content)
    for arguments, why in (
        ((), "No change is given"),
        (("--seed", "3"), "--seed only works with --resplit"),
        (("--relabel", "nowhere.csv"), "No such file"),
        (("--relabel", "none.csv"), "expected a line `image,label`"),
        (("--relabel", "bare.csv"), "expected a line `image,label`"),
        (("--relabel", "twice.csv"), "line 3: 3 is 7 in a line before"),
        (("--exclude", "none.csv"), "names no image"),
        (("--rename-classes", "cat"), "expected OLD=NEW"),
        (("--pixel-values", "invert"), "expected SPLIT=CHANGE"),
        (("--pixel-values", "test=backwards"), "input should be 'invert'"),
        (("--pixel-values", "test=factor:x"), "expected numbers"),
        (("--from-finding", "split_shift"), "It has: duplicates, inverted_values, leakage"),
        (("--rename-classes", "cow=bull"), "There is no class 'cow'"),
    ):
        refused = heldout("datasets", "fix", "pets", *arguments)
        assert (refused.returncode, refused.stdout) == (Exit.REFUSED, ""), arguments
        assert why in refused.stderr, refused.stderr
    assert [dataset.name for dataset in client.datasets.list()] == ["pets", "digits"]


def test_the_audits_offers_are_applied_until_there_are_no_more(heldout, service, pets):
    """Copies among inverted images are found once these are inverted back."""

    def work():
        first = service.claim_when_there_is_one()
        orders.append(first.spec.changes.body())
        service.accept(first, LEAKAGE, changes={"from": "pets@1", "summary": "4 test images changed"})
        second = service.claim_when_there_is_one()
        orders.append(second.spec.changes.body())
        service.accept(second, DUPLICATES, changes={"from": "pets@2", "summary": "2 copies left out"})

    orders: list[dict] = []
    worker = threading.Thread(target=work)
    worker.start()
    fixed = heldout("datasets", "fix", "pets", "--cure")
    worker.join()
    assert fixed.returncode == 0, fixed.stderr
    assert orders == [{"pixel_values": {"test": "invert"}, "drop_copies": True}, {"drop_copies": True}]
    lines = fixed.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("pets@")] == ["pets@2", "pets@3"]
    assert lines[0] == "Changes 4 of 4 test images. Copies that are found later are not counted."
    assert "Made from pets@1: 4 test images changed" in lines
    assert "Fix it: `heldout datasets fix pets@2 --drop-copies`" in fixed.stdout


def test_a_rejected_version_ends_the_command_with_the_reason(heldout, service, pets):
    def work():
        service.reject(service.claim_when_there_is_one(), code="nothing_changed", detail="Nothing to change.")

    worker = threading.Thread(target=work)
    worker.start()
    fixed = heldout("datasets", "fix", "pets", "--from-finding", "leakage")
    worker.join()
    unknown = "Removes and changes no images. Copies that are found later are not counted.\n"
    assert (fixed.returncode, fixed.stdout) == (Exit.FAILED, unknown)
    assert fixed.stderr.splitlines()[-1] == "pets@2 rejected: nothing_changed: Nothing to change."


def test_the_fix_of_one_finding_is_requested_by_its_code(heldout, pets):
    made = json.loads(heldout("datasets", "fix", "pets", "--from-finding", "leakage", "--detach", "--json").stdout)
    assert made["derived_from"]["changes"] == {"drop_copies": True}


def test_findings_are_shown_with_the_command_that_fixes_them():
    long = {"rename_classes": {"test": {str(digit): str((digit + 1) % 10) for digit in range(10)}}}
    views = [
        AuditFindingView(
            code=code, severity="critical", numbers={}, explanation="", what_to_do="", examples=[], pairs=[], fix=fix
        )
        for code, fix in (("leakage", {"drop_copies": True}), ("label_order_mismatch", long), ("narrow_range", None))
    ]
    split = {"count": 1, "per_class": [1, 0]}
    about = {"object": "audit", "dataset": {"id": "ds_1", "name": "my pets", "version": 1}, "sha256": "a" * 64}
    rest = {"splits": dict.fromkeys(("train", "validation", "test"), split), "statistics": {}, "checks": {}}
    audit = AuditView.model_validate({**about, **rest, "source": {}, "findings": views})
    fixes = [block for block in build_audit(audit) if isinstance(block, Action)]
    assert [fix.line for fix in fixes] == [
        "Fix it: `heldout datasets fix 'my pets@1' --drop-copies`",
        "Fix it: `heldout datasets fix 'my pets@1' --from-finding label_order_mismatch`",
    ]
    assert fixes[0].page == "/datasets/ds_1?fix=%7B%22drop_copies%22%3Atrue%7D"


def test_a_diagnosis_has_the_request_and_the_command_if_the_dataset_is_known():
    remedy = suggest_data_fix("Fix it.", {"pixel_values": {"test": "invert"}})
    inverted = Finding("scale_mismatch", "critical", "Inverted.", {}, (*remedy, *suggest_data_fix("Or look at it.")))
    diagnosis = Diagnosis("scale_mismatch", 1, None, "Inverted.", (inverted,))
    known, external = DiagnosisView.of(diagnosis, dataset_id="ds_1"), DiagnosisView.of(diagnosis)
    [first, second] = known.findings[0].remedies
    assert first.request.model_dump() == {
        "method": "POST",
        "path": "/v1/datasets/ds_1/versions",
        "body": {"pixel_values": {"test": "invert"}},
    }
    assert second.request is None
    assert external.findings[0].remedies[0].request is None
    shown = render_terminal(build_diagnosis(known))
    assert "  Fix the data: `heldout datasets fix ds_1 --pixel-values test=invert`" in shown


@pytest.fixture
def alike(service, client):
    """A dataset whose audit asks about two pairs of images."""
    made = client.datasets.create({"name": "alike"})
    client.datasets.upload(made.id, [b"not looked at"])
    pairs = [
        tuple(AuditExample(split=split, index=row, member=f"{row}.png") for split, row in pair)
        for pair in ((("train", 0), ("test", 9)), (("train", 1), ("train", 2)))
    ]
    service.accept(service.claim_when_there_is_one(), make_finding(pairs, 2))
    return client.datasets.get(made.id)


def test_look_alike_images_are_marked_as_different_by_position_or_all_at_once(heldout, client, alike):
    shown = heldout("datasets", "audit", "alike").stdout
    assert "Can you tell these apart?" in shown
    assert "`heldout datasets different alike@1 --all`\n" in shown
    assert " Removes 1 of 4 test images and 3 of 4 training images.\n" in shown
    assert "  train 0.png ~ test 9.png\n" in shown
    different = heldout("datasets", "different", "alike", "9=0")
    assert different.stdout == "alike@1 remembers 1 pair of images as different.\n"
    [left] = client.datasets.audit(alike.id).findings
    assert [[first.index, second.index] for first, second in left.pairs] == [[1, 2]]
    assert json.loads(heldout("datasets", "different", "alike", "--all", "--json").stdout)["pairs"] == [[0, 9], [1, 2]]
    assert client.datasets.audit(alike.id).findings == []
    assert "shows no look-alikes" in heldout("datasets", "different", "alike", "--all").stderr
    assert heldout("datasets", "different", "alike", "9=0", "--forget").stdout.startswith("alike@1 remembers 1 pair")
    for arguments in ((), ("--all", "1=2"), ("--all", "--forget"), ("1-2",)):
        assert heldout("datasets", "different", "alike", *arguments).returncode == Exit.REFUSED, arguments


def test_a_dry_run_shows_what_a_change_would_do_and_creates_nothing(heldout, client, alike, tmp_path):
    (tmp_path / "list.txt").write_text("0\n9\n")
    ended = heldout("datasets", "fix", "alike", "--exclude", "list.txt", "--dry-run")
    assert ended.stdout.splitlines() == [
        "Removes 1 of 4 test images and 1 of 4 training images.",
        "Removed: 2",
        "",
        "  test image 9",
        "  train image 0",
    ]
    as_json = json.loads(heldout("datasets", "fix", "alike", "--exclude", "list.txt", "--dry-run", "--json").stdout)
    assert as_json["removes"] == {"train": 1, "validation": 0, "test": 1}
    assert [dataset.name for dataset in client.datasets.list()] == ["alike", "digits"]


class Waiting:
    """A dataset whose check moves up in the queue on each refresh."""

    name, version, status = "pets", 1, "checking"

    def __init__(self, *positions):
        self._positions = list(positions)
        self.refresh()

    def refresh(self):
        self.queue_position = self._positions.pop(0)
        self.status = "checking" if self._positions else "ready"

    @property
    def view(self):
        return self


def test_a_check_that_waits_for_a_worker_says_its_place_in_the_queue(capsys, monkeypatch):
    monkeypatch.setattr(uploads, "INGEST_POLL_S", 0)
    for quiet in (False, True):
        waiting = SimpleNamespace(datasets=SimpleNamespace(get=lambda _: Waiting(12, 12, 1, None, None)))
        assert uploads.wait_for_ingest(waiting, "ds_1", quiet=quiet).status == "ready"
    assert capsys.readouterr().err == (
        "pets@1 waits for a worker: place 12 in the queue\npets@1 waits for a worker: place 1 in the queue\n"
    )
