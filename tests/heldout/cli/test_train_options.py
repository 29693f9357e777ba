"""Sources of specs for `heldout train`, what it prints, plots, and completion by Tab."""

import json

import pytest

from heldout.cli.spec_files import Preset, build_command, get_spec
from heldout.spec.layers import plan_network
from heldout.spec.network import NetworkSpec
from tests.heldout.served import ROOT, SPEC


@pytest.mark.parametrize("preset", list(Preset))
def test_a_preset_is_the_example_of_its_name(heldout, client, preset):
    example = json.loads((ROOT / "examples" / f"{preset}.json").read_text())
    assert {"name": preset, **get_spec(Preset(preset))} == example
    changes = ("--set", "dataset=digits", "--set", "network.blocks=[]", "--set", "network.blocks.0.filters=2")
    if preset == Preset.PHOTOS:  # the service of these tests has no pretrained network
        changes += ("--set", "network.backbone=null")
    job_id = heldout("train", "--preset", preset, *changes, "--name", "mine", "--detach").stdout.strip()
    spec = client.jobs.get(job_id).spec
    assert (spec.name, spec.training.seed, len(spec.network.blocks)) == ("mine", 7, 1)


def test_a_job_is_named_after_its_dataset_and_network_and_not_after_an_example(heldout, client):
    def name_of(*options):
        return client.jobs.get(heldout("train", *options, "--detach").stdout.strip()).name

    shallow = ("--set", "network.blocks=[]", "--set", "network.blocks.0.filters=2")
    example = str(ROOT / "examples/regularized.json")
    for source in (("--preset", "regularized", "--set", "dataset=digits"), (example, "--dataset", "digits")):
        assert name_of(*source, *shallow).startswith("digits 2 · ")
    assert name_of(example, "--dataset", "digits", *shallow, "--name", "regularized") == "regularized"


def test_the_spec_of_a_job_is_changed_by_settings(heldout, client, ended):
    changes = ("--set", "training.epochs=5", "--set", "augmentation.zoom=0.1", "--name", "x")
    again = client.jobs.get(heldout("train", "--from", ended, *changes, "--detach").stdout.strip())
    assert (again.retry_of, again.name) == (ended, "x")
    assert (again.spec.training.epochs, again.spec.augmentation.zoom) == (5, 0.1)
    assert again.spec.training.seed == client.jobs.get(ended).spec.training.seed
    jobs = len(list(client.jobs.list()))
    assert "parameters" in heldout("train", "--from", ended, "--set", "training.epochs=5", "--dry-run").stdout
    assert len(list(client.jobs.list())) == jobs


def test_a_refused_field_is_named_as_in_the_option_set(heldout, ended):
    refused = heldout("train", "--from", ended, "--set", "training.epochs=0")
    assert refused.returncode == 2
    assert "training.epochs: " in refused.stderr
    assert "/" not in refused.stderr.replace("job/", "")


def test_a_study_is_drawn(heldout, client, tmp_path):
    study = client.studies.create({"spec": SPEC, "remedies": ["label_smoothing"], "seeds": 2, "splits": "fixed"})
    assert "Nothing has been measured" in heldout("plot", study.id).stdout
    assert json.loads(heldout("plot", study.id, "--json").stdout)["svg"].startswith("<svg")
    assert heldout("plot", study.id, "-o", "study.html").stdout == "study.html\n"
    assert "<svg" in (tmp_path / "study.html").read_text()


def test_requesting_a_gpu_that_no_worker_has_gives_a_warning(heldout, client, tmp_path):
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    asked = ("train", "spec.json", "--set", "resources.device=gpu", "--detach")
    result = heldout(*asked)
    assert "No running worker has a GPU" in result.stderr
    assert client.jobs.get(result.stdout.strip()).status == "queued"


def test_a_retried_job_is_shown_next_to_the_original(heldout, service, client, ended):
    alone = heldout("watch", ended)
    assert f"`heldout diagnose {ended}`" in alone.stdout
    assert "Compared with" not in alone.stdout
    again = client.jobs.retry(ended, remedy="dropout").id
    held = service.begin(again)
    service.measure(held, 1)
    service.succeed(held)
    shown = heldout("watch", again).stdout
    assert f"Compared with {ended} (small)" in shown
    [row] = [line.split() for line in shown.splitlines() if line.startswith("test") and " 0.0 " in line]
    assert row[1:5] == row[5:9] == ["95.0%", "(91.9%", "to", "97.0%)"]
    assert f"`heldout cure {ended}`" in shown
    client.jobs.delete(ended)
    assert "Compared with" not in heldout("watch", again).stdout


def test_tab_offers_the_newest_jobs_and_nothing_without_a_service(heldout, ended):
    def offered(words, **changes):
        asked = {"_HELDOUT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        return heldout(**asked, **changes).stdout.split()

    assert offered("heldout show job_") == [ended]
    assert offered("heldout train --from job_") == [ended]
    assert offered("heldout datasets show dig") == ["digits"]
    assert offered("heldout show job_", HELDOUT_URL="http://127.0.0.1:9") == []
    assert offered("heldout train --pres") == ["--preset"]


def test_completion_strips_shell_syntax_from_names(heldout, client):
    client.jobs.create(SPEC | {"name": "a$(touch x)`b`\"'; c"})
    asked = {"_HELDOUT_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "heldout show job_"}
    offered = heldout(**asked).stdout
    assert "a touch x b c" in " ".join(offered.split())
    assert not set("$`;'") & set(offered.partition("((")[2].partition("))")[0])


@pytest.mark.parametrize(("side", "fits_as_it_is"), [(28, True), (12, True), (8, False), (4, False)])
def test_the_suggested_command_for_a_new_dataset_fits_its_image_size(side, fits_as_it_is):
    command = build_command("pets", (side, side, 1), 10)
    assert ("padding=same" not in command) == fits_as_it_is
    assert "padding" not in build_command("pets", (48, 48, 3), 10)
    assert build_command("pets", (48, 48, 3), 10, "photos") == "heldout train --preset photos --set dataset=pets"
    network = get_spec(Preset.REGULARIZED)["network"]
    for index, block in enumerate(network["blocks"]):
        if f"--set network.blocks.{index}.padding=same" in command:
            block["padding"] = "same"
    assert plan_network(NetworkSpec.model_validate(network), (side, side, 1), 10).layers
