"""`heldout studies` against a real service: listing, showing, cancelling and deleting."""

import json

from tests.heldout.served import SPEC


def test_studies_are_listed_shown_cancelled_and_deleted(heldout, client, tmp_path):
    requested = {"spec": SPEC, "remedies": ["label_smoothing"], "seeds": 2, "splits": "fixed", "name": "a\x1b[2Jb"}
    first, second = client.studies.create(requested), client.studies.create(requested)
    listed = heldout("studies")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["ID", second.id, first.id]
    assert "\x1b" not in listed.stdout
    assert "--limit shows them" in heldout("studies", "--limit", "1").stderr
    page = json.loads(heldout("studies", "--status", "running", "--json").stdout)
    assert [study["id"] for study in page["data"]] == [second.id, first.id]

    shown = heldout("studies", first.id)
    assert shown.returncode == 0
    assert shown.stdout == heldout("studies", "show", first.id).stdout
    elsewhere = heldout("studies", "--home", str(tmp_path), first.id)
    assert (elsewhere.returncode, str(tmp_path) in elsewhere.stderr) == (4, True), "an option before the id holds"
    assert json.loads(heldout("studies", "--json", first.id).stdout)["id"] == first.id
    assert "label smoothing" in shown.stdout
    jobs = {job.id for job in client.jobs.list(study=first.id)}
    assert jobs == {job for arm in first.arms for job in arm.jobs}
    assert all(job in heldout("jobs", "--study", first.id).stdout for job in jobs)

    assert heldout("studies", "cancel", first.id).stdout == f"{first.id} cancelled\n"
    followed = heldout("studies", first.id, "--watch")
    assert followed.returncode == 3
    assert "cancelled" in followed.stdout
    assert heldout("studies", "delete", second.id).returncode == 2
    assert heldout("studies", "delete", first.id).stdout == f"{first.id} deleted\n"
    assert heldout("studies", first.id).returncode == 2
    assert [study.id for study in client.studies.list()] == [second.id]
