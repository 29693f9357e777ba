"""Alert rules query only what a real service serves, and each fires when it should and not before."""

import re
import shutil
import subprocess

import httpx2
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from heldout.lifecycle.job import FailureCode
from heldout.service.settings import make_embedded_settings
from tests.e2e.running import ROOT, until
from tests.predict.world import predicting

FOLDER = ROOT / "monitoring"
PROMTOOL = shutil.which("promtool")
# Prometheus itself adds this metric for each target.
PROMETHEUS_METRICS = {"up": {"job", "instance"}}
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "bool", "offset"}
SMALL = {"dataset": "digits", "network": {"blocks": [{"filters": 2}]}, "training": {"epochs": 1}}
# One epoch takes longer than the second that the job may run.
HUGE = {
    "dataset": "digits",
    "network": {"blocks": [{"filters": 512, "padding": "same", "pool": 1, "repeat": 4}], "head": "global_average"},
    "limits": {"max_runtime_s": 1},
}


def rules():
    document = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    return {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}


@pytest.fixture(scope="module")
def served(service):
    """Labels and their values by metric: of the API, of the prediction process, and of a worker after two jobs."""
    with service.client() as client:
        jobs = [client.jobs.create(spec).id for spec in (SMALL, HUGE)]
        ends = [until(lambda job=job: (now := client.jobs.poll(job)).has_ended and now.status, job) for job in jobs]
        assert ends == ["succeeded", "failed"]
        client.jobs.create({**SMALL, "resources": {"device": "gpu"}})  # waits: this machine has no GPU
        with predicting(make_embedded_settings(service.home)) as predict:
            httpx2.post(f"{predict}/v1/jobs/x/predict")
            sources = (service.url, f"http://127.0.0.1:{service.metrics_port}", predict)
            texts = [httpx2.get(f"{url}/metrics").text for url in sources]
    found: dict[str, dict[str, set[str]]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = found.setdefault(sample.name, {})
                for name, value in sample.labels.items():
                    labels.setdefault(name, set()).add(value)
    return found


def selectors(expression):
    """List the metrics that a query names, with their matchers: `[("up", {"job": ("=", "heldout-api")})]`."""
    bare = re.sub(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)", " ", expression)
    found = re.findall(r"([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?(?!\s*\(|\w)", re.sub(r"\[[^\]]*\]", "", bare))
    return [
        (name, {label: (how, value) for label, how, value in re.findall(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"', matchers)})
        for name, matchers in found
        if name not in WORDS and not re.search(rf"\b{name}\s*\(", bare)
    ]


@pytest.mark.parametrize("alert", rules())
def test_each_query_names_only_served_metrics_and_labels(alert, served):
    expression = rules()[alert]["expr"]
    named = selectors(expression)
    assert named
    labels_of = {name: set(labels) | {"job", "instance"} for name, labels in served.items()} | PROMETHEUS_METRICS
    for name, matchers in named:
        assert name in labels_of, f"{alert} asks for {name}, which is not served"
        assert matchers.keys() <= labels_of[name], f"{alert}: {name} has no such label"
        for label, (_, wanted) in matchers.items():
            values = served.get(name, {}).get(label, set())
            if label == "job":
                assert wanted in scraped_jobs()
            elif label == "code":
                assert set(wanted.split("|")) <= set(FailureCode)
            elif label == "status" and name != "heldout_attempts_total":
                assert all(re.fullmatch(r"\dxx", status) for status in {wanted, *values})
            else:
                assert wanted in values
    grouped = {part.strip() for names in re.findall(r"\bby\s*\(([^)]*)\)", expression) for part in names.split(",")}
    texts = " ".join(rules()[alert]["annotations"].values())
    for label in grouped | set(re.findall(r"\$labels\.(\w+)", texts)):
        assert all(label in labels_of[name] for name, _ in named), f"{alert}: {label}"


def test_every_alert_is_on_the_page_that_says_what_to_do():
    page = (ROOT / "docs" / "how-to" / "monitoring.md").read_text()
    assert set(re.findall(r"^\| `(Heldout\w+)` \|", page, re.MULTILINE)) == rules().keys()


def scraped_jobs():
    return {config["job_name"] for config in yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus")
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", FOLDER / "alerts.yml"),
        ("check", "config", FOLDER / "prometheus.yml"),
        ("test", "rules", ROOT / "tests" / "monitoring" / "alerts.test.yml"),
    ],
    ids=["rules", "configuration", "when they fire"],
)
def test_promtool_accepts_the_rules_and_their_scenarios_pass(arguments):
    done = subprocess.run([str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
