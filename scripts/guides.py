"""The pages that explain routes and commands; `make reference` links to them."""

import re
from pathlib import Path

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
# Paths are relative to docs/reference/.
GUIDES: dict[str, list[str]] = {
    "spec.md": ["POST /v1/jobs", "heldout train"],
    "remedies.md": ["POST /v1/studies", "heldout retry"],
    "../explanation/copies.md#look-alikes": [
        "POST /v1/datasets/{dataset}/different",
        "heldout datasets different",
    ],
    "../explanation/fair-share.md": [
        "GET /v1/jobs/{job_id}/queue",
        "GET /v1/usage",
        "heldout queue",
        "heldout owners list",
        "heldout owners limit",
    ],
    "../explanation/ledger.md": ["GET /v1/datasets/{dataset}/ledger", "heldout datasets ledger"],
    "../explanation/memorized.md": ["GET /v1/jobs/{job_id}/memorized", "heldout memorized"],
    "../explanation/suspects.md": ["GET /v1/datasets/{dataset}/suspects", "heldout datasets suspects"],
    "../how-to/backup.md": ["heldout backup", "heldout restore", "heldout check"],
    "../how-to/continue.md": ["POST /v1/jobs/{job_id}/retry", "heldout retry"],
    "../how-to/cure.md": ["POST /v1/studies", "heldout cure", "heldout studies show"],
    "../how-to/cure.md#the-report": ["GET /v1/studies/{study_id}/report", "heldout studies report"],
    "../how-to/cure.md#would-more-images-help": ["POST /v1/studies", "heldout curve"],
    "../how-to/external-studies.md": [
        "POST /v1/studies",
        "POST /v1/studies/{study_id}/ask",
        "POST /v1/studies/{study_id}/runs/{run_id}/result",
        "heldout cure",
        "heldout init",
    ],
    "../how-to/recorded-runs.md": [
        "POST /v1/studies",
        "POST /v1/studies/{study_id}/runs/{run_id}/result",
        "heldout compare",
    ],
    "../how-to/judge.md": ["heldout judge"],
    "../how-to/sealed-judge.md": [
        "POST /v1/studies",
        "POST /v1/studies/{study_id}/arms",
        "POST /v1/studies/{study_id}/close",
        "heldout studies seal",
        "heldout studies send",
        "heldout studies close",
    ],
    "../how-to/dashboard.md#logging-in": ["POST /v1/session"],
    "../how-to/datasets.md": [
        "POST /v1/datasets",
        "PUT /v1/datasets/{dataset}/content",
        "GET /v1/datasets/{dataset}/audit",
        "heldout datasets push",
    ],
    "../how-to/datasets.md#audit-without-storing": ["heldout datasets audit", "heldout check-data"],
    "../how-to/datasets.md#fix-a-dataset": [
        "POST /v1/datasets/{dataset}/versions",
        "POST /v1/datasets/{dataset}/versions/effect",
        "heldout datasets fix",
    ],
    "../how-to/export.md": [
        "GET /v1/jobs/{job_id}/model",
        "GET /v1/jobs/{job_id}/model/report",
        "heldout export",
    ],
    "../how-to/export.md#the-ensemble-of-a-study": ["GET /v1/studies/{study_id}/model"],
    "../how-to/export.md#the-model-card": ["GET /v1/jobs/{job_id}/card", "heldout card"],
    "../how-to/heatmaps.md": ["GET /v1/jobs/{job_id}/images/{index}/heatmap", "heldout explain"],
    "../how-to/histories.md": ["GET /v1/jobs/{job_id}/metrics", "heldout metrics"],
    "history-formats.md": ["POST /v1/diagnoses", "heldout diagnose"],
    "../how-to/keys.md": ["GET /v1/keys", "POST /v1/keys", "POST /v1/keys/{key_id}/roll", "heldout keys create"],
    "../how-to/keys.md#the-activity-log": ["GET /v1/activity", "heldout activity"],
    "../how-to/mcp.md": ["heldout mcp"],
    "../how-to/mlflow.md": ["heldout mlflow"],
    "../how-to/models.md": ["POST /v1/models", "POST /v1/evaluations", "heldout evaluate"],
    "../how-to/predict.md": ["POST /v1/jobs/{job_id}/predict", "heldout predict"],
    "../how-to/predictions.md": ["POST /v1/diagnoses", "POST /v1/diagnoses/predictions", "heldout diagnose"],
    "../how-to/streams.md": [
        "GET /v1/events",
        "GET /v1/jobs/{job_id}/events",
        "GET /v1/studies/{study_id}/events",
        "heldout events",
    ],
    "../how-to/tensorboard.md": ["heldout tensorboard"],
    "../how-to/webhooks.md": ["POST /v1/webhooks", "heldout webhooks ping"],
}


def link_guides(name: str) -> str:
    """Write a line with links to the pages that explain a route or a command, or nothing."""
    links = ", ".join(f"[{_read_title(page)}]({page})" for page, names in GUIDES.items() if name in names)
    return f"\nSee {links}.\n" if links else ""


def _read_title(page: str) -> str:
    """Read the heading that a link leads to, without the marks of code."""
    file, _, anchor = page.partition("#")
    headings = re.findall(r"^#+ (.+)$", (REFERENCE / file).read_text(encoding="utf-8"), re.MULTILINE)
    found = next(heading for heading in headings if not anchor or _slugify(heading) == anchor)
    return found.replace("`", "")


def _slugify(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
