"""Formats the API's figures as pages show them."""


def percent(fraction: float | None, digits: int = 1) -> str:
    return "–" if fraction is None else f"{100 * fraction:.{digits}f}%"


def points(fraction: float) -> str:
    text = f"{100 * fraction:.1f}"
    if float(text) == 0:
        return text.removeprefix("-")
    return ("+" if float(text) > 0 else "") + text.replace("-", "−")
