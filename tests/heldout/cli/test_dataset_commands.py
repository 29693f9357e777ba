"""`heldout datasets …` as a user runs it, against a real service: its output, effects and exit codes."""

import io
import json
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

from heldout.cli.outcome import Exit
from heldout.spec.dataset import ResizeSpec
from heldout.stored.audit import SplitLabels, StoredSuspects, Suspect, WrongLabels
from tests.heldout.served import PATIENCE_S, read_lines_until


def test_datasets_are_listed(heldout, client, answered):
    [_, row] = heldout("datasets").stdout.splitlines()
    assert row.split()[1:6] == ["digits", "1", "ready", "8×8×1", "10"]
    assert json.loads(heldout("datasets", "--json").stdout)["data"] == answered("datasets")["data"]


def test_a_ledger_shows_how_often_labels_were_looked_at(heldout, ended, answered, client):
    splits = client.datasets.get("digits").splits
    assert json.loads(heldout("datasets", "ledger", "digits", "--json").stdout) == answered("datasets/digits/ledger")
    shown = heldout("datasets", "ledger", "digits").stdout
    assert f"Your job has looked at the {splits.test.count} test labels once." in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["validation", str(splits.validation.count), "2", "0", "0", "1"] in rows
    assert ["test", str(splits.test.count), "1", "0", "0", "1"] in rows
    assert sum(ended in row for row in rows) == 3
    cut = heldout("datasets", "ledger", "digits", "--limit", "2")
    assert cut.stdout.count(ended) == 2
    assert "There are more" in cut.stderr


def make_suspects(count: int = 3, probability: float | None = 0.91, **changes) -> StoredSuspects:
    """Make the result of a search for wrong labels in `digits`."""
    suspects = tuple(
        Suspect(index=7 + row, split="test", member=f"7/{row}.png", label=7, suggested=1, probability=probability)
        for row in range(count)
    )
    how = {"images": 1797, "agreement": 0.9, "networks": 10, "trained_on": 1438, "seen_as": (8, 8)}
    result = {"verdict": "can_tell", "wrong": WrongLabels(count=90, low=60, high=120)}
    splits = {"test": SplitLabels(images=360, count=18, low=12, high=24)}
    return StoredSuspects(**{**how, **result, "splits": splits, "suspects": suspects, **changes})


def test_suspected_labels_are_waited_for_listed_and_saved(start, heldout, service, client, tmp_path):
    searching = start("datasets", "suspects", "digits", "--limit", "2", "--csv", "fixes.csv")
    read_lines_until(searching, "waiting for a worker: ", errors=True)
    service.suspect(service.claim_when_there_is_one().held, make_suspects(), client.datasets.get("digits").id)
    out, _ = searching.communicate(timeout=PATIENCE_S)
    assert searching.returncode == Exit.SUCCEEDED
    assert out.startswith("About 90 of 1,797 images (5%) have a wrong label, 60 to 120 with 95% confidence.")
    assert "test: 18 of 360 (12 to 24)" in out
    assert ["7/0.png", "test", "7", "1", "91%"] in [line.split() for line in out.splitlines()]
    assert out.splitlines()[-1].endswith("`heldout datasets fix digits@1 --relabel fixes.csv`")
    assert (tmp_path / "fixes.csv").read_text() == "image,label\n7/0.png,1\n7/1.png,1\n"
    whole = json.loads(heldout("datasets", "suspects", "digits", "--limit", "300", "--json").stdout)
    assert [suspect["rank"] for suspect in whole["data"]] == [1, 2, 3]
    assert client.datasets.suspects("digits", limit=1, after=1).data[0].member == "7/1.png"


def test_the_file_has_all_labels_that_are_likely_wrong_and_the_list_has_twenty(heldout, service, client, tmp_path):
    with ThreadPoolExecutor(1) as worker:
        dataset_id = client.datasets.get("digits").id
        found = make_suspects(230)
        worker.submit(lambda: service.suspect(service.claim_when_there_is_one().held, found, dataset_id))
        result = heldout("datasets", "suspects", "digits", "--csv", "fixes.csv")
    assert (tmp_path / "fixes.csv").read_text().count("\n") == 231
    assert result.stdout.count("91%") == 20
    assert "There are more; --limit shows them." in result.stdout
    assert "230 labels are in fixes.csv: those above 50%." in result.stdout
    listed = json.loads(heldout("datasets", "suspects", "digits", "--csv", "fixes.csv", "--json").stdout)
    assert (len(listed["data"]), listed["has_more"], listed["next"]) == (20, True, 20)


def test_no_file_of_labels_is_written_if_the_search_cannot_tell(heldout, service, client, tmp_path):
    too_hard = make_suspects(probability=None, verdict="too_hard", wrong=None, splits={}, agreement=0.4)
    dataset_id = client.datasets.get("digits").id
    with ThreadPoolExecutor(1) as worker:
        worker.submit(lambda: service.suspect(service.claim_when_there_is_one().held, too_hard, dataset_id))
        result = heldout("datasets", "suspects", "digits", "--csv", "fixes.csv")
    assert result.returncode == Exit.FAILED
    assert "they agree with 40% of the labels" in result.stdout
    assert ["7/0.png", "test", "7", "1"] in [line.split() for line in result.stdout.splitlines()]
    assert "was not written" in result.stdout
    assert not (tmp_path / "fixes.csv").exists()


def test_a_folder_is_pushed_and_the_result_of_its_check_is_shown(start, service, client, tmp_path):
    (tmp_path / "Pets!" / "cat").mkdir(parents=True)
    (tmp_path / "Pets!" / "cat" / "1.png").write_bytes(b"a picture")
    pushing = start("datasets", "push", "Pets!", "--description", "cats", "--test", "0.5", "--resize", "16x8")
    # The command polls, and could miss a wait that ends at once.
    assert read_lines_until(pushing, "", errors=True) == ["pets@1 waits for a worker: place 1 in the queue"]
    held = service.claim_when_there_is_one()
    found = client.datasets.get("pets")
    assert (found.status, found.description) == ("checking", "cats")
    spec = held.spec.dataset
    assert (spec.splits.test, spec.resize) == (0.5, ResizeSpec(height=16, width=8, rule="pad"))
    with tarfile.open(fileobj=io.BytesIO(service.blobs.read(held.spec.upload))) as archive:
        assert archive.getnames() == ["cat/1.png"]
    service.reject(held, code="too_few_classes", detail="There is one class.")
    out, err = pushing.communicate(timeout=PATIENCE_S)
    assert (pushing.returncode, out) == (Exit.FAILED, "")
    assert err == "pets@1 rejected: too_few_classes: There is one class.\n"


def test_archives_of_one_split_each_are_uploaded_together(heldout, service, client, tmp_path):
    for name in ("train", "test"):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("cat/1.png", b"a picture")
    arguments = ("--folder", "samples/=ignore", "--folder", "a=b=test", "--skip-broken")
    heldout("datasets", "push", "train.zip", "test.zip", "--name", "pets", *arguments, "--detach")
    held = service.claim_when_there_is_one()
    with tarfile.open(fileobj=io.BytesIO(service.blobs.read(held.spec.upload))) as archive:
        assert archive.getnames() == ["train/cat/1.png", "test/cat/1.png"]
    spec = held.spec.dataset
    assert (spec.splits.folders, spec.skip_broken) == ({"samples": "ignore", "a=b": "test"}, True)
    service.reject(held, code="too_few_classes", detail="There is one class.")


def test_a_push_that_cannot_work_is_refused_and_leaves_no_dataset(heldout, client, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.npz").write_bytes(b"x")
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        link = tarfile.TarInfo("cat/1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "2.png"
        archive.addfile(link)
    with zipfile.ZipFile(tmp_path / "damaged.zip", "w") as archive:
        archive.writestr("cat/1.png", b"a picture")
    damaged = (tmp_path / "damaged.zip").read_bytes().replace(b"a picture", b"no longer")
    for name in ("damaged.zip", "damaged2.zip"):
        (tmp_path / name).write_bytes(damaged)
    for arguments, why in (
        (("nowhere.zip",), "No such file"),
        (("empty",), "has no files"),
        (("x.npz", "--resize", "3x3"), "greater than or equal to 8"),
        (("x.npz", "--resize", "large"), "expected HEIGHTxWIDTH"),
        (("x.npz", "--name", "Ünï"), "name"),
        (("x.npz", "--group-by", "(a)(b)"), "exactly one group"),
        (("x.npz", "--folder", "a"), "expected NAME=USE"),
        (("x.npz", "--folder", "a=maybe"), "'ignore'"),
        (("x.npz", "empty"), "--name is needed"),
        (("x.npz", "empty", "--name", "x"), "only with files of the same kind"),
        (("links.tar", "empty", "--name", "x"), "is a link"),
        # Found during the upload, which is withdrawn.
        (("damaged.zip", "damaged2.zip", "--name", "x"), "cat/1.png cannot be unpacked"),
    ):
        refused = heldout("datasets", "push", *arguments)
        assert (refused.returncode, refused.stdout) == (Exit.REFUSED, "")
        assert why in refused.stderr
    assert [dataset.name for dataset in client.datasets.list()] == ["digits"]


def test_a_dataset_can_be_pushed_without_waiting_shown_and_deleted(heldout, service, client, tmp_path, answered):
    (tmp_path / "x.npz").write_bytes(b"not looked at")
    dataset_id = heldout("datasets", "push", "x.npz", "--detach").stdout.strip()
    assert json.loads(heldout("datasets", "show", "x", "--json").stdout) == answered(f"datasets/{dataset_id}")
    assert "checking" in heldout("datasets", "show", "x").stdout
    early = heldout("datasets", "audit", "x", "--json")
    assert (early.returncode, json.loads(early.stdout)["code"]) == (Exit.REFUSED, "not_ready")
    assert heldout("datasets", "delete", "x").stdout == "x@1 deleted\n"
    gone = heldout("datasets", "show", "x")
    assert gone.returncode == Exit.REFUSED
    assert "No dataset is named 'x'" in gone.stderr
