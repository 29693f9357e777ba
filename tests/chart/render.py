"""Lints and renders the chart with Helm, and checks what comes out against the schemas of Kubernetes.

Run by the Python of `.cache/chart`: `render.py CHART < VALUES`, where VALUES maps names to values, as JSON. Prints what
is wrong and the objects for each.
"""

import json
import sys
from typing import Any

import kubernetes_validate  # type: ignore[import-not-found]
import yaml
from helm_python import Chart, HelmError, lint  # type: ignore[import-not-found]

# The oldest release of Kubernetes that the chart allows, and the newest with schemas here.
RELEASES = ("1.25", "1.37")
WARNING = 2


def render(chart: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the objects, and what the linter, Helm or a schema says against them."""
    try:
        faults = [said["error"] for said in lint(chart, values, strict=True)["messages"] if said["severity"] >= WARNING]
        with Chart.load(chart) as loaded:
            loaded.validate_schema(values)
            texts = loaded.render(values, name="demo", namespace="training")
    except HelmError as error:
        return {"faults": [str(error)], "objects": []}
    texts = {name: text for name, text in texts.items() if name.endswith(".yaml")}
    objects = [found for text in texts.values() for found in yaml.safe_load_all(text) if found]
    for found in objects:
        if found["apiVersion"].startswith("keda.sh/"):
            continue  # no schema of Kubernetes: test_chart.py looks at these
        for release in RELEASES:
            try:
                kubernetes_validate.validate(found, release, strict=True)
            except kubernetes_validate.ValidationError as error:
                faults.append(f"{found['kind']} {found['metadata']['name']}, Kubernetes {release}: {error.message}")
    return {"faults": faults, "objects": objects}


if __name__ == "__main__":
    print(json.dumps({name: render(sys.argv[1], values) for name, values in json.load(sys.stdin).items()}))
