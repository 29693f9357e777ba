"""The Helm chart, rendered by Helm for ten sets of values."""

import tomllib
from copy import deepcopy

import pytest
from sqlalchemy import create_engine, text

from heldout.service.database_urls import make_driver_url
from heldout.service.settings import Settings
from models.database import Database
from models.migrations import upgrade
from tests.chart.rendering import ROOT, read_examples, render
from tests.servers import PostgresServer

pytestmark = pytest.mark.chart

EXAMPLES = read_examples()
CAPABILITIES = {"CHOWN", "DAC_OVERRIDE", "KILL", "SETGID", "SETUID", "SYS_NICE"}


def change(values: dict, **changes) -> dict:
    return {**deepcopy(values), **changes}


@pytest.fixture(scope="module")
def rendered():
    bucket = EXAMPLES["bucket"]
    refused = {
        "no database": change(bucket, database={}),
        "no broker": change(bucket, redis={}),
        "no store": change(bucket, blobs={}),
        "a wrong name": change(bucket, wroker={"replicas": 3}),
        "a wrong name within": change(bucket, worker={"replica": 3}),
        "a foreign variable": change(bucket, settings={"PATH": "/tmp"}),
        "an injected host": change(bucket, database={"host": "db\n      evil: true"}),
    }
    return render({**EXAMPLES, **refused})


def find(objects: list[dict], kind: str, name: str = "") -> list[dict]:
    return [found for found in objects if found["kind"] == kind and name in ("", found["metadata"]["name"])]


def list_pods(objects: list[dict]) -> dict[str, dict]:
    return {
        found["metadata"]["name"]: found["spec"]["template"]["spec"]
        for found in find(objects, "Deployment") + find(objects, "Job")
    }


def list_all_pods(rendered) -> list[tuple[str, dict]]:
    return [(name, pod) for example in EXAMPLES for name, pod in list_pods(rendered[example]["objects"]).items()]


def get_variables(pod: dict) -> dict[str, object]:
    [container] = pod["containers"]
    return {entry["name"]: entry.get("value") for entry in container["env"]}


def test_ten_examples_render_without_a_fault(rendered):
    assert len(EXAMPLES) == 10
    assert {name: rendered[name]["faults"] for name in EXAMPLES if rendered[name]["faults"]} == {}


def test_values_that_cannot_work_are_refused(rendered):
    said = {name: " ".join(found["faults"]) for name, found in rendered.items() if name not in EXAMPLES}
    assert "Set database.host" in said["no database"]
    assert "Set redis.host" in said["no broker"]
    assert "Set blobs.url" in said["no store"]
    assert "wroker" in said["a wrong name"]
    assert "replica" in said["a wrong name within"]
    assert "PATH" in said["a foreign variable"]
    assert "pattern" in said["an injected host"]


def test_the_chart_has_the_version_of_the_release():
    import yaml

    chart = yaml.safe_load((ROOT / "deploy/helm/heldout/Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_commands_are_those_of_the_compose_file(rendered):
    import yaml

    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    pods = list_pods(rendered["gpu"]["objects"]) | {
        "demo-worker": list_pods(rendered["separate-users"]["objects"])["demo-worker"]
    }
    for name in ("migrate", "api", "predict", "worker"):
        assert pods[f"demo-{name}"]["containers"][0]["command"] == services[name]["command"], name
    plain = pods["demo-worker-gpu"]["containers"][0]["command"]
    assert plain == services["worker"]["command"][-len(plain) :]
    assert plain[0] == "celery"


def test_all_variables_are_settings(rendered):
    known = {f"HELDOUT_{name.upper()}" for name in Settings.model_fields}
    for name, pod in list_all_pods(rendered):
        ours = {variable for variable in get_variables(pod) if variable.startswith("HELDOUT_")}
        assert ours <= known, name


def test_only_the_api_gets_the_key_of_secrets(rendered):
    for name, pod in list_all_pods(rendered):
        assert ("HELDOUT_SECRETS_KEY" in get_variables(pod)) == (name == "demo-api")


def test_no_password_is_in_the_manifests(rendered):
    for _, pod in list_all_pods(rendered):
        for entry in pod["containers"][0]["env"]:
            if "PASSWORD" in entry["name"] or "SECRET" in entry["name"] or "KEY" in entry["name"]:
                assert set(entry) == {"name", "valueFrom"}


def test_pods_run_without_root_and_without_writing_to_their_root(rendered):
    for name, pod in list_all_pods(rendered):
        [container] = pod["containers"]
        limits, whole = container["securityContext"], pod["securityContext"]
        assert (whole["runAsUser"], whole["runAsGroup"], whole["fsGroup"]) == (10001, 10001, 10001)
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert limits["readOnlyRootFilesystem"] is True
        assert limits["allowPrivilegeEscalation"] is False
        assert limits["capabilities"]["drop"] == ["ALL"]
        assert limits.get("runAsNonRoot") is True or "worker" in name
        assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]


def test_only_workers_for_separate_users_start_as_root(rendered):
    for example in EXAMPLES:
        for name, pod in list_pods(rendered[example]["objects"]).items():
            limits = pod["containers"][0]["securityContext"]
            if example == "separate-users" and name == "demo-worker":
                assert limits["runAsUser"] == 0
                assert set(limits["capabilities"]["add"]) == CAPABILITIES
            else:
                assert "runAsUser" not in limits
                assert "add" not in limits["capabilities"]


def test_every_long_running_pod_is_probed_and_has_time_to_stop(rendered):
    from worker.supervision.training_attempt import STOP_TIMEOUT_S

    for name, pod in list_all_pods(rendered):
        if name == "demo-migrate":
            continue
        [container] = pod["containers"]
        assert {"startupProbe", "livenessProbe"} <= set(container)
        assert ("readinessProbe" in container) == ("worker" not in name)
        assert pod["terminationGracePeriodSeconds"] > 2 * max(STOP_TIMEOUT_S["release"], 10)


def test_a_node_can_be_emptied_one_pod_at_a_time(rendered):
    for example in EXAMPLES:
        objects = rendered[example]["objects"]
        for deployment in find(objects, "Deployment"):
            [budget] = find(objects, "PodDisruptionBudget", deployment["metadata"]["name"])
            assert budget["spec"]["maxUnavailable"] == 1
            assert budget["spec"]["selector"] == deployment["spec"]["selector"]


def test_services_and_policies_select_the_pods_of_their_name(rendered):
    for example in EXAMPLES:
        objects = rendered[example]["objects"]
        labels = {
            found["metadata"]["name"]: found["spec"]["template"]["metadata"]["labels"]
            for found in find(objects, "Deployment")
        }
        for service in find(objects, "Service"):
            assert service["spec"]["selector"] == labels[service["metadata"]["name"]]
        policies = find(objects, "NetworkPolicy")
        expected = {} if example == "small" else labels
        assert {
            policy["metadata"]["name"]: policy["spec"]["podSelector"]["matchLabels"] for policy in policies
        } == expected


def test_a_policy_admits_the_api_to_predictions_and_no_one_to_workers(rendered):
    objects = rendered["bucket"]["objects"]
    [worker], [predict], [api] = (
        find(objects, "NetworkPolicy", f"demo-{name}") for name in ("worker", "predict", "api")
    )
    assert "ingress" not in worker["spec"]
    assert set(worker["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    [allowed] = predict["spec"]["ingress"]
    assert allowed["from"] == [{"podSelector": {"matchLabels": api["spec"]["podSelector"]["matchLabels"]}}]
    ports = {port["port"] for port in worker["spec"]["egress"][0]["ports"]}
    assert ports == {53, 5432, 6379, 443}


def test_keda_instead_of_a_number_decides_how_many_workers_run(rendered):
    objects = rendered["gpu-from-zero"]["objects"]
    [scaled], [authentication] = find(objects, "ScaledObject"), find(objects, "TriggerAuthentication")
    [worker] = find(objects, "Deployment", scaled["spec"]["scaleTargetRef"]["name"])
    [trigger] = scaled["spec"]["triggers"]
    assert "replicas" not in worker["spec"]
    assert (scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"]) == (0, 4)
    assert trigger["type"] == "postgresql"
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert authentication["spec"]["secretTargetRef"] == [
        {"parameter": "password", "name": "heldout", "key": "HELDOUT_DATABASE_PASSWORD"}
    ]


def test_keda_counts_the_jobs_that_need_a_worker_of_that_kind(rendered):
    [cpu] = find(rendered["keda"]["objects"], "ScaledObject")
    [anything] = find(rendered["gpu-from-zero"]["objects"], "ScaledObject")
    jobs = [
        # kind, status, device, whether the cpu trigger counts it
        ("train", "queued", "auto", 1),
        ("train", "queued", "cpu", 1),
        ("train", "queued", "gpu", 0),
        ("train", "running", "auto", 1),
        ("ingest", "queued", "cpu", 1),
        ("train", "succeeded", "cpu", 0),
        ("train", "paused", "cpu", 0),
        ("external_run", "running", "cpu", 0),
        ("idle_experiment", "queued", "cpu", 0),
    ]
    with PostgresServer(durable=False) as server:
        url = make_driver_url(server.url)
        database = Database(url)
        upgrade(database)
        database.dispose()
        engine = create_engine(url)
        with engine.begin() as connection:
            for number, (kind, status, device, _) in enumerate(jobs):
                connection.execute(
                    text(
                        "INSERT INTO jobs (id, kind, owner, name, status, version, spec, metadata, priority, device,"
                        " attempt, failures, runtime_s, epoch, epochs, last_event, created_at, queued_at)"
                        " VALUES (:id, :kind, 'me', '', :status, 1, '{}', '{}', 0, :device,"
                        " 0, 0, 0, 0, 1, 0, now(), now())"
                    ),
                    {"id": f"job_{number}", "kind": kind, "status": status, "device": device},
                )
        with engine.connect() as connection:
            counts = [
                connection.execute(text(scaled["spec"]["triggers"][0]["metadata"]["query"])).scalar_one()
                for scaled in (cpu, anything)
            ]
        engine.dispose()
    assert counts == [sum(counted for *_, counted in jobs), 5]
    assert cpu["spec"]["triggers"][0]["metadata"]["targetQueryValue"] == "4", "one worker for so many jobs"
