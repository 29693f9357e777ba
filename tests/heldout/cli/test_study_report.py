"""`heldout studies report` against a real service: on the terminal, as a page, as JSON."""

import json

from tests.heldout.served import SPEC


def test_a_report_is_printed_saved_as_a_page_and_given_as_json(heldout, client, tmp_path):
    requested = {"spec": SPEC, "remedies": ["label_smoothing"], "seeds": 2, "splits": "fixed", "name": "a\x1b[2Jb"}
    study = client.studies.create(requested)
    printed = heldout("studies", "report", study.id)
    report = client.studies.report(study.id)
    assert printed.returncode == 0
    assert printed.stdout.startswith('# Does "label smoothing" make the network better')
    assert f"## {study.headline}" in printed.stdout
    assert report.answer in printed.stdout
    assert "\x1b" not in printed.stdout

    written = heldout("studies", "report", study.id, "--html", "report.html")
    page = (tmp_path / "report.html").read_bytes()
    assert written.stdout == f"report.html: {len(page):,} bytes\n"
    assert page.decode() == client.studies.report_text(study.id, "text/html")

    assert json.loads(heldout("studies", "report", study.id, "--json").stdout) == report.model_dump(mode="json")
    assert heldout("studies", "report", "std_none").returncode == 2
    refused = heldout("studies", "report", study.id, "--json", "--html", "report.html")
    assert refused.returncode == 2
    assert "give one of them" in json.loads(refused.stdout)["detail"]
