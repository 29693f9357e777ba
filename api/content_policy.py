"""Content-Security-Policy of pages whose builders put scripts into them: those run by their digests, and no others."""

import re
from base64 import b64encode
from hashlib import sha256

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def policy_of(page: str, *, more: str = "") -> str:
    """Its service's own files, the scripts within the page, and styles within elements; nothing from elsewhere.

    Args: page is HTML; more are further directives.
    """
    digests = " ".join(f"'sha256-{b64encode(sha256(one.encode()).digest()).decode()}'" for one in _SCRIPT.findall(page))
    return (
        f"default-src 'none'; script-src 'self' {digests}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        f"connect-src 'self'; {more}base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
