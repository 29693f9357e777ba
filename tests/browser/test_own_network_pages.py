"""A user's own Keras network in the dashboard: uploaded in the form of a new job, validated and trained."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import keras
import pytest
from playwright.sync_api import expect

from heldout.client.client import Client
from heldout.client.failures import ModelRejected
from heldout.client.own_networks import write_model
from tests.browser.looks import assert_fit_at_every_size
from tests.e2e.running import Service
from tests.written_networks import REFUSED, TRAINED

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
# A worker loads Keras to read a model.
READ_MS = 120_000


def save_architecture(file: Path, classes: int) -> None:
    images = keras.Input((8, 8, 1))
    maps = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(images)
    features = keras.layers.GlobalAveragePooling2D()(maps)
    file.write_text(keras.Model(images, keras.layers.Dense(classes)(features)).to_json())


def test_an_own_network_is_uploaded_adjusted_and_trained(
    client: Client, open_page, pictures: Path | None, tmp_path: Path
) -> None:
    save_architecture(tmp_path / "seven.json", 7)
    page = open_page("/new?dataset=digits")
    page.get_by_role("button", name="My own Keras network").click()
    expect(page.get_by_label("Name of the job")).to_have_value("")  # not the name of an example
    page.get_by_label("Or upload one").set_input_files(tmp_path / "seven.json")
    expect(page.get_by_text("Takes 8 × 8 × 1. Gives 7 classes. Has no weights.")).to_be_visible(timeout=READ_MS)
    head = page.get_by_label("How features become an answer")
    expect(head).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("has 7 classes, but the dataset has 10").first).to_be_visible()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()
    head.select_option("replace")
    dropout = page.get_by_label("Dropout to add")
    dropout.fill("1.5")
    dropout.press("Tab")
    expect(page.get_by_text("Received 1.5").first).to_be_visible()
    dropout.fill("0.25")
    page.get_by_label("Epochs (times it sees all images)").fill("2")
    expect(page.get_by_text("valid", exact=True)).to_be_visible()
    assert_fit_at_every_size(page, "new-own-network", pictures)
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_url("**/jobs/job_*")
    job = client.jobs.get(page.url.rpartition("/")[2]).wait()
    network = job.spec.network
    assert (network.head, network.dropout, network.weights) == ("replace", 0.25, "fresh")
    assert job.parameters == (3 * 3 + 1) * 4 + (4 + 1) * 10
    expect(page.get_by_role("heading", name="Training and validation")).to_be_visible()
    page.get_by_role("link", name="Clone and edit").click()
    expect(page.get_by_label("Uploaded Keras network")).to_have_value(network.model)
    # Blocks come back as an example, and the user's network with its settings.
    page.get_by_role("button", name="Blocks", exact=True).click()
    expect(page.get_by_text("Blocks, from the image to the answer", exact=True)).to_be_visible()
    page.get_by_role("button", name="My own Keras network").click()
    expect(page.get_by_label("Dropout to add")).to_have_value("0.25")


def test_the_page_of_a_model_leads_to_its_training(client: Client, open_page, tmp_path: Path) -> None:
    save_architecture(tmp_path / "ten.json", 10)
    model = client.models.push(tmp_path / "ten.json")
    page = open_page(f"/models/{model.id}")
    expect(page.get_by_text("It is an architecture without weights")).to_be_visible()
    page.get_by_role("link", name="Train this network").click()
    expect(page.get_by_label("Uploaded Keras network")).to_have_value(model.id)


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", [*TRAINED, *REFUSED])
def test_networks_as_people_write_them_go_through_every_door(
    kind: str, service: Service, client: Client, open_page, tmp_path: Path
) -> None:
    make, code, advice = REFUSED.get(kind) or (TRAINED[kind], "", "")
    file = write_model(make(), "fresh", tmp_path)
    outcomes = set()

    def note(model) -> None:
        outcomes.add(model.status if model.error is None else model.error.code)
        assert model.error is None or advice in model.error.detail

    try:
        note(client.models.push(make()))
    except ModelRejected as refused:
        note(refused.model)
    key = (service.home / "api-key").read_text().strip()
    finished = subprocess.run(
        [sys.executable, "-m", "heldout", "models", "push", file],
        env={**os.environ, "HELDOUT_URL": service.url, "HELDOUT_API_KEY": key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert bool(finished.returncode) == bool(code)
    assert code in finished.stderr
    assert advice in finished.stderr
    posted = httpx.post(
        f"{service.url}/v1/models", content=file.read_bytes(), headers={"Authorization": f"Bearer {key}"}, timeout=60
    )
    note(client.models.get(posted.json()["id"]).wait())
    page = open_page("/models")
    page.get_by_label("File with a model").set_input_files(file)
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_url("**/models/mod_*")
    if code:
        expect(page.get_by_role("alert")).to_contain_text(advice, timeout=READ_MS)
    else:
        expect(page.get_by_role("link", name="Train this network")).to_be_visible(timeout=READ_MS)
    assert outcomes == {code or "ready"}
