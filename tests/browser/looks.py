"""What is asked of each page, whatever it shows: nothing serious for axe, and nothing wider than the screen."""

from pathlib import Path

from playwright.sync_api import Page

from tests.e2e.running import ROOT

AXE = ROOT / "web/node_modules/axe-core/axe.min.js"


def assert_fit_for_all(page: Page, name: str, pictures: Path | None) -> None:
    """Checks the page as it stands, and keeps a picture of it if somebody wants to look at it."""
    # As an extension does it, whom a page's policy does not bind.
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    serious = [
        (one["id"], [node["html"][:120] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert not serious, f"{name}: {serious}"
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{name} is {wide} pixels wider than the screen"
    if pictures is not None:
        page.screenshot(path=pictures / f"{name}.png", full_page=True)
