"""The command `heldout` as a user runs it, against a real service: its output, effects and exit codes."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from heldout.cli.outcome import Exit, exit_of_problem
from heldout.cli.progress import Lines
from heldout.client.client import ApiProblem, Client
from heldout.diagnosis import Diagnosis
from heldout.diagnosis.causes import CAVEATS
from heldout.documents.diagnosis import build_diagnosis
from heldout.documents.terminal import render_terminal
from heldout.errors import ArtifactLost
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.views.base import dump_json
from heldout.views.diagnosis import DiagnosisView
from models.store import artifacts
from models.store.artifacts import Artifact
from tests.heldout.relay import Relay
from tests.heldout.served import PATIENCE_S, SPEC, read_lines_until, until


def wait_for_only_job(client):
    """Wait for the only job of this service and return its id."""
    until(lambda: list(client.jobs.list()), "a job")
    [job] = client.jobs.list()
    return job.id


# --- train and watch -------------------------------------------------------------------------------


def test_a_training_is_shown_with_a_line_per_epoch_and_exits_with_0(service, client, start, spec_file):
    process = start("train", spec_file)
    job_id = wait_for_only_job(client)
    read_lines_until(process, "queued")
    held = service.begin(job_id)
    read_lines_until(process, "started")
    service.measure(held, 1)
    [line] = read_lines_until(process, "epoch")
    assert line == "small  epoch 1/2  train 97.1%  validation 95.5%  loss 0.091/0.153  2 s"
    service.measure(held, 2)
    service.succeed(held)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    assert out.count("epoch 2/2") == 1
    assert "epoch 1/2" not in out
    assert "95.0%" in out
    assert "91.9% to 97.0%" in out
    assert "gap to test        accuracy 4.0 points worse, loss 0.110 worse than on training images" in out


def test_a_failed_training_exits_with_1_and_its_reason(service, client, heldout, spec_file):
    with ThreadPoolExecutor(1) as worker:
        worker.submit(lambda: service.fail(service.begin(wait_for_only_job(client))))
        result = heldout("train", spec_file)
    assert result.returncode == 1
    assert "diverged: The loss is not finite." in result.stdout


def test_a_cancelled_training_exits_with_3(client, heldout, spec_file):
    with ThreadPoolExecutor(1) as worker:
        worker.submit(lambda: client.jobs.cancel(wait_for_only_job(client)))
        result = heldout("train", spec_file)
    assert result.returncode == 3
    assert "cancelled" in result.stdout


def test_json_output_is_a_line_per_event_and_then_the_job(service, client, heldout, spec_file):
    def train():
        held = service.begin(wait_for_only_job(client))
        service.measure(held, 1)
        service.succeed(held)

    with ThreadPoolExecutor(1) as worker:
        worker.submit(train)
        result = heldout("train", spec_file, "--json")
    *events, job = [json.loads(line) for line in result.stdout.splitlines()]
    assert (result.returncode, result.stderr) == (0, "")
    job_id = job["id"]
    assert events == [dump_json(event) for event in client.jobs.events(job_id)]
    assert job == dump_json(client.jobs.get(job_id).view)


def test_ctrl_c_leaves_the_job_alone_and_says_how_to_continue(client, start, spec_file):
    process = start("train", spec_file)
    job_id = wait_for_only_job(client)
    read_lines_until(process, "queued")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert err == f"The job continues. `heldout watch {job_id}` shows it again.\n"
    assert client.jobs.get(job_id).status == "queued"


def test_watch_exits_with_4_if_the_service_stops(heldout, client, environment, monkeypatch):
    job_id = client.jobs.create(SPEC).id
    relay = Relay(client.url)
    monkeypatch.setattr("heldout.client.client.Client", partial(Client, patience_s=0.5))
    monkeypatch.setattr(Lines, "event", lambda *_: relay.close())
    result = heldout("watch", job_id, HELDOUT_URL=relay.url)
    assert result.returncode == 4
    [line] = result.stderr.splitlines()
    assert f"heldout watch {job_id}" in line


@pytest.mark.parametrize("option", ["--detach", "--no-wait"])
def test_a_detached_training_prints_only_its_id(heldout, client, spec_file, option):
    result = heldout("train", spec_file, option)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == wait_for_only_job(client) + "\n"


def test_a_spec_comes_from_standard_input_with_settings_and_a_name(heldout, client):
    settings = ("--set", "training.epochs=3", "--set", "network.blocks.0.filters=8", "--name", "other")
    result = heldout("train", "-", "--detach", "--json", *settings, input=json.dumps(SPEC))
    job = json.loads(result.stdout)
    assert (job["name"], job["progress"]["epochs"]) == ("other", 3)
    assert job["spec"]["network"]["blocks"][0]["filters"] == 8
    assert job == dump_json(client.jobs.get(job["id"]).view)


def test_a_dry_run_prints_the_cost_and_queues_nothing(heldout, client, spec_file):
    shown = heldout("train", spec_file, "--dry-run")
    printed = json.loads(heldout("train", spec_file, "--dry-run", "--json").stdout)
    assert shown.returncode == 0
    assert "block1_conv1" in shown.stdout
    assert f"{printed['parameters']:,}" in shown.stdout
    assert list(client.jobs.list()) == []


def test_a_refused_spec_exits_with_2_and_names_each_field(heldout, client, spec_file):
    settings = ("--set", "network.blocks.0.filters=0", "--set", "training.lerning_rate=1")
    result = heldout("train", spec_file, *settings)
    assert (result.returncode, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "heldout",
        "  network.blocks.0.filters",
        "  training.lerning_rate",
    ]
    assert list(client.jobs.list()) == []


def test_a_refused_spec_is_a_problem_in_json(heldout, spec_file):
    result = heldout("train", spec_file, "--json", "--set", "dataset=none")
    assert result.returncode == 2
    problem = json.loads(result.stdout)
    assert problem["code"] == "dataset_not_found"
    assert problem["errors"][0]["pointer"] == "/dataset"


def test_wrong_usage_exits_with_2_and_an_explanation(heldout, client, spec_file):
    for arguments in (
        ("train", "none.json"),
        ("train", "spec.json", "--set", "epochs"),
        ("train", "spec.json", "--idempotency-key", "ü"),
        ("train",),
        ("train", "spec.json", "--sett", "a=b"),
        ("train", "spec.json", "--from", "job_none"),
        ("train", "--from", "job_none", "--set", "a=b"),
        ("train", "--from", "job_none", "--remedy", "dropout", "--set", "a=b"),
        ("train", "--preset", "overfit", "spec.json"),
        ("train", "--preset", "best"),
        ("plot", "std_none"),
        ("plot", "std_none", "--what", "gap"),
        ("plot", "job_none", "--split", "test"),
        ("plot", "job_none", "-o", "picture.gif"),
        ("train", "spec.json", "--remedy", "dropout"),
        ("trian", "spec.json"),
        ("jobs", "--limit", "0"),
        ("jobs", "--limit", "many"),
        ("jobs", "--status", "done"),
        ("jobs", "--metadata", "team"),
        ("show",),
        ("show", "job_none"),
        ("show", "a/b"),
        ("cancel", ""),
        ("change", "job_none"),
        ("model", "job_none"),
        ("model", "job_none", "-o", "-", "--json"),
        ("--verson",),
    ):
        result = heldout(*arguments)
        assert result.returncode == 2, arguments
        assert "Traceback" not in result.stderr
        assert result.stderr.strip(), arguments
    assert list(client.jobs.list()) == []


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "invalid_cursor", Exit.REFUSED),
        (401, "unauthenticated", Exit.NO_SERVICE),
        (403, "forbidden", Exit.NO_SERVICE),
        (404, "job_not_found", Exit.REFUSED),
        (404, "unexpected_answer", Exit.NO_SERVICE),
        (409, "job_finished", Exit.REFUSED),
        (413, "body_too_large", Exit.REFUSED),
        (422, "invalid_spec", Exit.REFUSED),
        (429, "rate_limited", Exit.NO_SERVICE),
        (500, "internal", Exit.NO_SERVICE),
        (503, "database_unavailable", Exit.NO_SERVICE),
    ],
)
def test_the_exit_code_says_whether_the_user_or_the_service_is_at_fault(status, code, expected):
    assert exit_of_problem(ApiProblem(code, status, "", "")) is expected


def test_a_misspelled_option_or_setting_gets_a_suggestion(heldout):
    assert heldout("jobs", "--staus", "failed").stderr.endswith("No such option: --staus. Did you mean `--status`?\n")
    assert heldout("datasets", "push", ".", "--nmae", "a").stderr.endswith("--nmae. Did you mean `--name`?\n")
    refused = heldout("train", "--preset", "overfit", "--set", "epochs=3")
    assert refused.returncode == Exit.REFUSED
    assert refused.stderr.endswith("epochs: There is no such field. Did you mean `training.epochs`?\n")


# --- look ------------------------------------------------------------------------------------------


def test_jobs_are_listed_newest_first_and_can_be_filtered(heldout, client):
    ids = [client.jobs.create(SPEC).id for _ in range(3)]
    client.jobs.cancel(ids[0])
    heading, *rows = heldout("jobs").stdout.splitlines()
    assert heading.split() == ["ID", "NAME", "STATUS", "EPOCH", "BEST", "GAP", "VERDICT", "DATASET", "CREATED"]
    assert [row.split()[0] for row in rows] == ids[::-1]
    [_, row] = heldout("jobs", "--status", "cancelled").stdout.splitlines()
    assert row.split()[:3] == [ids[0], "small", "cancelled"]
    first = heldout("jobs", "--limit", "1", "--json")
    listed = json.loads(first.stdout)
    assert ([job["id"] for job in listed["data"]], listed["has_more"]) == ([ids[2]], True)


def test_the_activity_log_lists_who_changed_what(heldout, client):
    job = client.jobs.create({**SPEC, "name": "one"})
    client.jobs.cancel(job.id)
    lines = heldout("activity", "--subject", job.id).stdout.splitlines()
    assert lines[0].split() == ["WHEN", "ACTION", "SUBJECT", "KEY", "FROM"]
    assert [line.split()[-4:-2] for line in lines[1:]] == [["cancel_job", job.id], ["submit_job", job.id]]
    assert json.loads(heldout("activity", "--limit", "1", "--json").stdout)["data"][0]["object"] == "activity_entry"


def test_kept_diagnoses_are_listed_with_their_headlines(heldout, client):
    found = client.diagnoses.create({"loss": [1, 0.5, 0.2, 0.1, 0.05], "val_loss": [1, 0.6, 0.7, 0.9, 1.2]})
    kept = client.diagnoses.keep(found)
    heading, row = heldout("diagnoses").stdout.splitlines()
    assert heading.split() == ["ID", "KEPT", "HEADLINE"]
    assert row.startswith(kept.id)
    assert row.endswith(found.headline)


def test_an_empty_list_is_only_its_heading(heldout):
    assert len(heldout("jobs").stdout.splitlines()) == 1
    assert json.loads(heldout("jobs", "--json").stdout) == {"object": "list", "data": [], "has_more": False}


def test_a_job_is_shown_and_diagnosed_with_its_gap_term_by_term(heldout, ended, answered):
    for command in ("show", "diagnose"):
        lines = [line.split() for line in heldout(command, ended).stdout.splitlines()]
        table = lines[lines.index(["STEP", "ACCURACY", "95%", "INTERVAL", "CAUSE"]) + 1 :][:4]
        expected = [
            ["Training,", "1,000", "images", "99.0%"],
            ["Gap", "to", "new", "images", "−3.5", "−6.9", "to", "−1.6"],
            ["Different", "test", "set", "−0.5", "−9.8", "to", "+11.3"],
            ["Test,", "300", "images", "95.0%"],
        ]
        assert [row[: len(figures)] for row, figures in zip(table, expected, strict=True)] == expected
    found = answered(f"jobs/{ended}/diagnosis")
    assert json.loads(heldout("diagnose", ended, "--json").stdout) == found
    assert [term["code"] for term in found["gap"]["terms"]] == ["generalisation", "split_difference"]
    assert heldout("diagnose", ended).stdout.count(found["explanation"]) == 1


def test_each_caveat_is_shown_with_its_meaning():
    known = Diagnosis("healthy", 7, 9, "Nothing.", (), tuple(CAVEATS), None, 0.97)
    view = DiagnosisView.of(known)
    view = view.model_copy(update={"caveats": [*view.caveats, "unheard_of"]})
    head, marks, *_, epochs, caveats = render_terminal(build_diagnosis(view))
    assert (head, marks) == ("Healthy", "healthy, sure")
    assert epochs == "The validation loss was lowest in epoch 7. It stays worse from epoch 9 on."
    assert caveats.startswith(f"Read the figures with care. {' '.join(CAVEATS.values())} Unheard of: ")


def test_a_diagnosis_names_the_file_that_is_missing():
    lost = ArtifactLost("the gap of job_1", "job_1")
    view = DiagnosisView.of(Diagnosis("healthy", 1, None, "Nothing.", (), left_out=(lost,)))
    shown = " ".join(render_terminal(build_diagnosis(view)))
    assert "Left out (`artifact_lost`): The file with the gap of job_1 is no longer in the blob store" in shown
    assert "POST /v1/jobs/job_1/retry trains it again." in shown


def test_a_job_is_shown_with_its_figures(heldout, client, ended, answered):
    shown = heldout("show", ended)
    assert shown.returncode == 0
    for part in (ended, "succeeded (All epochs are done.)", "digits@1", "2 of 2", "95.0%", "91.9% to 97.0%"):
        assert part in shown.stdout
    assert json.loads(heldout("show", ended, "--json").stdout) == answered(f"jobs/{ended}")


def test_the_printed_spec_of_a_job_can_be_submitted_again(heldout, client, ended):
    spec = heldout("show", ended, "--spec").stdout
    assert json.loads(spec) == dump_json(client.jobs.get(ended).spec)
    assert heldout("train", "-", "--detach", input=spec).returncode == 0


def test_metrics_have_a_row_per_epoch_and_the_kept_weights(heldout, client, ended, answered):
    lines = heldout("metrics", ended).stdout.splitlines()
    assert lines[1].split()[:3] == ["1", "97.1%", "95.5%"]
    assert lines[2].split()[:3] == ["2", "99.0%", "95.5%"]
    assert any(line.split()[:3] == ["test", "300", "95.0%"] for line in lines)
    assert json.loads(heldout("metrics", ended, "--json").stdout) == answered(f"jobs/{ended}/metrics")


def test_a_missing_figure_is_a_dash(service, client, heldout):
    job_id = client.jobs.create(SPEC).id
    service.measure(service.begin(job_id), 1, train_loss=None, validation_loss=None, learning_rate=None, seconds=None)
    row = heldout("metrics", job_id).stdout.splitlines()[1].split()
    assert row == ["1", "97.1%", "95.5%", "–", "–", "0.200", "–", "–"]


def test_metrics_say_why_there_are_no_training_figures(service, client, heldout):
    job_id = client.jobs.create(SPEC).id
    service.measure(service.begin(job_id), 1, train_loss=None, train_accuracy=None)
    assert "only measured at the end: evaluation.train is final" in heldout("metrics", job_id).stdout


def test_events_have_a_line_each(heldout, client, ended, answered):
    lines = heldout("events", ended).stdout.splitlines()
    events = list(client.jobs.events(ended))
    assert [int(line.split()[0]) for line in lines] == [event.id for event in events]
    assert "job.succeeded" in lines[-1]
    later = json.loads(heldout("events", ended, "--after", "2", "--json").stdout)
    assert later["data"] == answered(f"jobs/{ended}/events")["data"][2:]


def test_without_an_id_the_events_of_all_jobs_and_datasets_are_listed(heldout, client, ended, answered):
    client.datasets.create({"name": "pets"})
    lines = heldout("events").stdout.splitlines()
    events = list(client.events.list())
    assert [int(line.split()[0]) for line in lines] == [event.id for event in events]
    assert all(event.subject.id in line for event, line in zip(events, lines, strict=True))
    later = json.loads(heldout("events", "--after", "2", "--json").stdout)
    assert later["data"] == answered("events")["data"][2:]


def test_events_are_followed_from_now_on_until_ctrl_c(service, client, ended, environment, start):
    relay = Relay(service.url)
    environment["HELDOUT_URL"] = relay.url
    process = start("events", "--follow", "--json")
    until(lambda: b"\nid: " in relay.received, "the stream has begun")
    service.warn(client.jobs.create(SPEC).id, "news")
    followed = [json.loads(line) for line in read_lines_until(process, "news")]
    assert followed == [dump_json(event) for event in client.events.list()][-2:]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    relay.close()


def test_following_a_job_from_a_known_event_ends_with_the_job(heldout, ended):
    assert heldout("events", ended, "--follow", "--after", "0").stdout == heldout("events", ended).stdout
    assert heldout("events", ended, "-f").stdout == ""


def test_the_queue_is_shown(heldout, client, ended, answered):
    job_id = client.jobs.create(SPEC).id
    assert heldout("queue", job_id).stdout.split()[:2] == ["position", "1"]
    assert heldout("queue", ended).stdout == "not queued\n"
    assert json.loads(heldout("queue", job_id, "--json").stdout) == answered(f"jobs/{job_id}/queue")


# --- change and fetch ------------------------------------------------------------------------------


def test_commands_take_a_job_through_its_states(heldout, client, spec_file):
    job_id = heldout("train", spec_file, "--detach").stdout.strip()
    for command, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert heldout(command, job_id).stdout == f"{job_id} {status}\n"
        assert client.jobs.get(job_id).status == status
    again = heldout("retry", job_id).stdout.strip()
    assert client.jobs.get(again).retry_of == job_id
    for change in (("--epochs", "20"), ("--remedy", "prayer")):
        assert heldout("retry", job_id, *change).returncode == Exit.REFUSED
    for option in (("--remedy", "prayer"), ("--idempotency-key", "ü")):
        assert heldout("train", "--from", job_id, *option).returncode == Exit.REFUSED
    assert heldout("delete", job_id).returncode == 0
    assert heldout("show", job_id).returncode == 2
    assert [job.id for job in client.jobs.list()] == [again]
    assert heldout("cancel", again).returncode == 0
    [third] = {heldout("train", "--from", again, "--detach", "--idempotency-key", "k").stdout.strip() for _ in range(2)}
    assert client.jobs.get(third).retry_of == again


def test_a_queued_job_can_be_changed(heldout, client):
    job_id = client.jobs.create(SPEC).id
    changes = ("--priority", "7", "--name", "new", "--metadata", "a=b", "--metadata", "c=d=e")
    assert heldout("change", job_id, *changes).returncode == 0
    job = client.jobs.get(job_id)
    assert (job.name, job.spec.priority, job.spec.metadata) == ("new", 7, {"a": "b", "c": "d=e"})
    assert heldout("change", job_id, "--remove-metadata", "a", "--metadata", "c=f").returncode == 0
    assert client.jobs.get(job_id).spec.metadata == {"c": "f"}


def make_scores(right, wrong):
    """Make the scores of a split of two classes in which `wrong` cats are answered as dogs."""
    counts = {"precision": 1.0, "f1": 0.9}
    return {
        "confusion": [[right, wrong], [0, 50]],
        "per_class": [
            {"count": right + wrong, "recall": right / (right + wrong), **counts},
            {"count": 50, "recall": None, **counts},
        ],
        "calibration_error": 0.0625,
        "mistakes": [{"index": 41, "member": "cat/é.png", "label": 0, "answer": 1, "probability": 0.875}] * wrong,
    }


def test_classes_are_shown_with_their_confusions_and_most_confident_mistakes(
    heldout, service, client, ended, tmp_path, answered
):
    assert "has no model" in heldout("confusion", ended).stderr
    stored = {"classes": ["cat", "dog"], "splits": {"train": make_scores(50, 0), "validation": make_scores(40, 10)}}
    (tmp_path / "evaluation.json").write_text(json.dumps(stored))
    key = f"jobs/{ended}/1/evaluation.json"
    service.blobs.put(key, tmp_path / "evaluation.json")
    with service.database.write() as session:
        artifacts.add(session, ended, 1, [Artifact(ArtifactName.EVALUATION, ArtifactFormat.JSON, key)])
    lines = heldout("confusion", ended).stdout.splitlines()
    assert lines[1].split() == ["cat", "50", "100.0%", "80.0%", "90.0%", "+20.0", "dog", "(10)"]
    assert lines[2].split() == ["dog", "50", "100.0%", "–", "90.0%", "–"]
    assert "calibration error: 6.2%" in lines
    assert lines.count("  image 41 (cat/é.png): cat classified as dog, 87.5% sure") == 5
    assert "mistakes" not in heldout("confusion", ended, "--split", "train").stdout
    assert heldout("confusion", ended, "--split", "test").returncode == 2
    assert json.loads(heldout("confusion", ended, "--json").stdout) == answered(f"jobs/{ended}/confusion")
    drawn = heldout("plot", ended, "--what", "confusion").stdout.splitlines()
    assert [line.split() for line in drawn[-2:]] == [["cat", "40", "10"], ["dog", "·", "50"]]
    assert heldout("plot", ended, "--what", "confusion", "--split", "test").returncode == 2


@pytest.mark.parametrize("command", ["model", "predictions"])
def test_a_file_is_downloaded(heldout, ended, tmp_path, command):
    result = heldout(command, ended, "-o", "fetched")
    size = (tmp_path / "fetched").stat().st_size
    assert (result.returncode, result.stdout) == (0, f"fetched: {size:,} bytes\n")
    assert json.loads(heldout(command, ended, "-o", "fetched", "--json").stdout)["size_bytes"] == size


def test_a_file_is_downloaded_to_standard_output(heldout, heldout_apart, ended, tmp_path):
    heldout("model", ended, "-o", "fetched")
    assert heldout_apart("model", ended, "-o", "-").stdout == (tmp_path / "fetched").read_text()


def test_predictions_are_downloaded_as_csv_by_file_name_or_by_option(heldout, service, client, ended, tmp_path):
    arrays = {
        f"train_{what}": np.array(values)
        for what, values in (("indices", [3]), ("labels", [0]), ("probabilities", [[0.25, 0.75]]))
    }
    np.savez(tmp_path / "p.npz", **arrays, classes=np.array(["cat", "dog"]))
    service.blobs.put(f"jobs/{ended}/1/predictions.npz", tmp_path / "p.npz")
    assert heldout("predictions", ended, "-o", "named.csv").returncode == 0
    assert heldout("predictions", ended, "-o", "asked", "--format", "csv").returncode == 0
    for name in ("named.csv", "asked"):
        assert (tmp_path / name).read_text().splitlines() == [
            "split,index,file,label,answer,correct,probability,p_cat,p_dog",
            "train,3,,cat,dog,false,0.75,0.25,0.75",
        ]
    assert heldout("predictions", ended, "-o", "raw.csv", "--format", "npz").returncode == 0
    assert (tmp_path / "raw.csv").read_bytes() == (tmp_path / "p.npz").read_bytes()


def test_a_file_that_cannot_be_written_is_reported(heldout, ended):
    result = heldout("model", ended, "-o", "none/model.keras")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "No such file or directory" in result.stderr
