"""Checks that a run in MLflow, read by MLflow's own client, has the figures of a job."""

import json

KERAS = {
    "loss": "fit_loss",
    "accuracy": "fit_accuracy",
    "val_loss": "validation_loss",
    "val_accuracy": "validation_accuracy",
    "learning_rate": "learning_rate",
    "train_loss": "train_loss",
    "train_accuracy": "train_accuracy",
}


def only_run(reader, experiment="heldout"):
    found = reader.search_runs([reader.get_experiment_by_name(experiment).experiment_id])
    assert len(found) == 1
    return found[0]


def assert_epochs(reader, run, epochs):
    """Check that each curve has each epoch of the service once."""
    for name, field in KERAS.items():
        points = sorted(reader.get_metric_history(run.info.run_id, name), key=lambda point: point.step)
        assert [(point.step, point.value) for point in points] == [
            (epoch.epoch, getattr(epoch, field)) for epoch in epochs
        ]


def assert_is_of(reader, run, client, job_id, artifacts):
    """Check that the run has the contents of the job."""
    job, metrics, diagnosis = client.jobs.get(job_id), client.jobs.metrics(job_id), client.jobs.diagnosis(job_id)
    assert_epochs(reader, run, metrics.epochs)
    assert run.info.run_name == job.name
    assert run.info.status == "FINISHED"
    assert run.info.end_time == round(1000 * job.finished_at.timestamp())
    params, figures, tags = run.data.params, run.data.metrics, run.data.tags
    assert params["network.blocks.0.filters"] == str(job.spec.network.blocks[0].filters)
    assert params["training.optimizer.name"] == "adam"
    assert params["parameters"] == str(job.parameters)
    assert figures["final/test/accuracy"] == metrics.final.test.accuracy
    assert figures["final/test/accuracy_low"] == metrics.final.test.interval[0]
    assert figures["gap/to_test/accuracy"] == metrics.final.gap.test.accuracy
    terms = {f"gap/{term.code}/accuracy": term.accuracy for term in diagnosis.gap.terms}
    assert terms
    assert {name: figures[name] for name in terms} == terms
    assert abs(sum(terms.values()) - figures["gap/to_test/accuracy"]) < 1e-9
    assert (tags["heldout.job_id"], tags["heldout.verdict"]) == (job.id, diagnosis.verdict)
    assert tags["mlflow.note.content"] == diagnosis.explanation
    assert {path.name for path in artifacts.iterdir()} == {"spec.json", "diagnosis.json", "model.keras"}
    assert json.loads((artifacts / "diagnosis.json").read_text())["verdict"] == diagnosis.verdict
    assert json.loads((artifacts / "spec.json").read_text())["name"] == job.name
