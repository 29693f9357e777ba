"""What is asked of each page: nothing serious for axe, nothing wider than the screen, no button of many lines."""

from pathlib import Path

from playwright.sync_api import Page

from tests.e2e.running import ROOT

# Buttons of more than two lines, with how many they have. One around a picture may be as tall as that.
TALL_BUTTONS = """
() => [...document.querySelectorAll('button, a.button')].filter(one => one.offsetParent && !one.querySelector('img'))
    .map(one => {
        const style = getComputedStyle(one)
        const text = one.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom)
        return [one.innerText.slice(0, 60), Math.floor(text / parseFloat(style.lineHeight))]
    })
    .filter(([, lines]) => lines > 2)
"""
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"


def assert_fit_for_all(page: Page, name: str, pictures: Path | None) -> None:
    """Checks the page as it stands, and keeps a picture of it if someone wants to look at it."""
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
    tall = page.evaluate(TALL_BUTTONS)
    assert not tall, f"{name} has buttons of more than two lines: {tall}"
    if pictures is not None:
        page.screenshot(path=pictures / f"{name}.png", full_page=True)
