"""Requirements for each page: no serious finding of axe, nothing wider than the screen, and no tall buttons."""

import re
from pathlib import Path

from playwright.sync_api import Page

from tests.e2e.running import ROOT

# Lists buttons of more than two lines, with their line counts. Buttons around a picture may be tall.
TALL_BUTTONS = """
() => [...document.querySelectorAll('button, a.button')]
    .filter(button => button.offsetParent && !button.querySelector('img'))
    .map(button => {
        const style = getComputedStyle(button)
        const text = button.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom)
        return [button.innerText.slice(0, 60), Math.floor(text / parseFloat(style.lineHeight))]
    })
    .filter(([, lines]) => lines > 2)
"""
DESK = 1280  # pixels; on a screen of this width nothing scrolls sideways, not even a table
FOR_TERMINALS = re.compile(r"--[a-z]|\b(?:GET|POST|PUT|PATCH|DELETE) /|/v1/|\bcurl\b")
# Reads a page's text without blocks that readers copy into a terminal or a program.
READ_TEXT = """() => {
  const copied = [...document.querySelectorAll('pre, textarea')].map(block => block.innerText)
  return copied.reduce((text, block) => text.replace(block, ''), document.body.innerText)
}"""
FIND_SIDEWAYS = """() => [...document.querySelectorAll('*')]
  .filter(part => part.scrollWidth > part.clientWidth + 1 && !['PRE', 'TEXTAREA', 'INPUT'].includes(part.tagName)
    && ['auto', 'scroll'].includes(getComputedStyle(part).overflowX))
  .map(part => part.getAttribute('aria-label') ?? part.className)"""
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"


def assert_fit_for_all(page: Page, name: str, pictures: Path | None) -> None:
    """Check the page as it is, and save a picture of it if pictures are wanted."""
    # It is injected as an extension would do it, because the page's policy does not bind extensions.
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    serious = [
        (violation["id"], [node["html"][:120] for node in violation["nodes"][:3]])
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]
    assert not serious, f"{name}: {serious}"
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{name} is {wide} pixels wider than the screen"
    tall = page.evaluate(TALL_BUTTONS)
    assert not tall, f"{name} has buttons of more than two lines: {tall}"
    command = FOR_TERMINALS.search(page.evaluate(READ_TEXT))
    assert command is None, f"{name} shows what only a terminal can use: {command[0]}"
    if page.viewport_size and page.viewport_size["width"] >= DESK:
        sideways = page.evaluate(FIND_SIDEWAYS)
        assert not sideways, f"{name} has parts that scroll sideways: {sideways}"
    if pictures is not None:
        page.screenshot(path=pictures / f"{name}.png", full_page=True)


def assert_fit_at_every_size(page: Page, name: str, pictures: Path | None) -> None:
    """Check the page on a desktop and on a phone, in light and in dark."""
    before = page.viewport_size
    assert before
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        for colours in ("dark", "light"):
            page.emulate_media(color_scheme=colours)
            assert_fit_for_all(page, f"{name}-{colours}-{width}", pictures)
    page.set_viewport_size(before)
