"""Jobs, datasets, studies and models are found by names, the start of an id, or `last`."""

import json

import pytest

from heldout.cli.outcome import Exit
from tests.heldout.served import SPEC

ORDERED = {"spec": SPEC, "remedies": ["label_smoothing"], "seeds": 2, "splits": "fixed"}


@pytest.fixture
def jobs(client):
    """Ids of a job with a unique name and of two jobs with the same name, oldest first."""
    return [client.jobs.create(SPEC | {"name": name}).id for name in ("alone", "twin", "twin")]


def shown(heldout, *arguments):
    ended = heldout(*arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)["id"]


def refused(heldout, *arguments):
    ended = heldout(*arguments)
    assert (ended.returncode, ended.stdout) == (Exit.REFUSED, "")
    return ended.stderr


def test_a_job_is_found_by_its_name_the_start_of_its_id_or_as_the_last(heldout, jobs):
    assert [shown(heldout, "show", text) for text in (jobs[0], "alone", jobs[1][:-1], "last")] == [
        jobs[0],
        jobs[0],
        jobs[1],
        jobs[2],
    ]


def test_the_last_job_is_not_a_job_of_a_study(heldout, client, jobs):
    study = client.studies.create(ORDERED)
    assert shown(heldout, "studies", "last") == study.id
    assert next(iter(client.jobs.list())).view.study_id == study.id
    assert shown(heldout, "show", "last") == jobs[-1]


def test_an_ambiguous_reference_is_refused_with_all_matches(heldout, jobs):
    for text in ("twin", jobs[0][:8]):
        message = refused(heldout, "cancel", text)
        assert {job for job in jobs if job in message} == ({*jobs[1:]} if text == "twin" else {*jobs})


def test_an_id_of_another_kind_names_the_command_that_accepts_it(heldout, client, jobs):
    study = client.studies.create(ORDERED)
    assert refused(heldout, "diagnose", study.id) == (
        f"heldout: {study.id} is a study, and a job is needed. `heldout studies show {study.id}` shows it.\n"
    )
    assert f"`heldout show {jobs[0]}`" in refused(heldout, "datasets", "show", jobs[0])
    assert f"`heldout show {jobs[0]}`" in refused(heldout, "studies", "report", "alone")
    assert "`heldout datasets show ds_" in refused(heldout, "watch", "digits")


def test_a_dataset_is_found_by_its_name_the_start_of_its_id_or_as_the_last(heldout, client):
    made = client.datasets.create({"name": "pets"})
    assert [shown(heldout, "datasets", "show", text) for text in ("pets", "pets@1", made.id[:-1], "last")] == [
        made.id
    ] * 4


def test_an_unknown_reference_is_refused_with_the_command_that_lists(heldout, jobs):
    ended = heldout("show", "nobody", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["code"]) == (Exit.REFUSED, "job_not_found")
    assert ended.stderr.endswith("No job has the id or the name 'nobody'. `heldout jobs` lists them.\n")
    assert refused(heldout, "models", "show", "last") == "heldout: There is no model yet.\n"


def test_a_reference_that_looks_like_a_file_is_a_file(heldout, jobs):
    assert refused(heldout, "diagnose", "alone.csv") == "heldout: alone.csv: No such file or directory\n"
