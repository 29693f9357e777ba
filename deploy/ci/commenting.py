"""Writes the judge's answer as one comment on a pull request or merge request, or renews that comment.

It runs in a job of its own, which has the token and runs no judged code. The answer, which that code may have written,
is text within bounds. What to comment on comes from this job's own event.
"""

import io
import json
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from answers import FILE, MISSING, MOST_BYTES, NotShown, check_answer, read_answer

MARK = "<!-- heldout judge -->"
ARTIFACT = "heldout-judge"
PAGE, MOST_PAGES, MOST_ARCHIVE_BYTES = 100, 100, 64 * 1024
CHANGED = "This change also changes the judge's configuration. **The configuration of the base branch counted.**"


class _Stay(HTTPRedirectHandler):
    """Follows no redirect: an archive lies on another host, which must not get the token."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Api:
    """A forge's API, called with the token."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url, self._headers, self._open = url, headers, build_opener(_Stay).open

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request, and return the JSON of its answer. Ends the program if the forge refuses it."""
        data = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, "Content-Type": "application/json"}
        try:
            with self._open(Request(f"{self._url}{path}", data, headers, method=method), timeout=60) as answer:
                return json.load(answer)
        except HTTPError as error:
            sys.exit(f"heldout: {method} {path} was answered with {error.code}. Check the rights of the token.")

    def list_all(self, path: str) -> Iterator[Any]:
        """Yield the entries of all pages of a list."""
        for page in range(1, MOST_PAGES + 1):
            found = self.call("GET", f"{path}?{urlencode({'per_page': PAGE, 'page': page})}")
            yield from found
            if len(found) < PAGE:
                return

    def download(self, path: str) -> bytes:
        """Get a file that lies on another host, without sending it the token. Raises NotShown if it is too large."""
        try:
            with self._open(Request(f"{self._url}{path}", headers=dict(self._headers)), timeout=60):
                raise NotShown("The judge's answer could not be downloaded.")
        except HTTPError as error:
            place = error.headers.get("Location")
        if not place:
            raise NotShown("The judge's answer could not be downloaded.")
        with self._open(Request(place), timeout=60) as answer:
            return bytes(answer.read(MOST_ARCHIVE_BYTES + 1))


class GitHub:
    """A pull request, as the event of this job names it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        event = json.loads(Path(environment["GITHUB_EVENT_PATH"]).read_text("utf-8"))
        head, self._name = event["pull_request"]["head"], event["repository"]["full_name"]
        self.is_fork = head["repo"] is None or head["repo"]["full_name"] != self._name
        self.commit = str(head["sha"])
        self._number, self._run = int(event["pull_request"]["number"]), int(environment["GITHUB_RUN_ID"])
        self._author = environment["HELDOUT_AUTHOR"]
        headers = {"Authorization": f"Bearer {environment['HELDOUT_TOKEN']}", "Accept": "application/vnd.github+json"}
        self._api = Api(environment["GITHUB_API_URL"], headers)

    def read_answer(self) -> bytes:
        """Read the answer from the artifact of this run. Raises NotShown."""
        listed = self._api.call("GET", f"/repos/{self._name}/actions/runs/{self._run}/artifacts?name={ARTIFACT}")
        found = max(listed["artifacts"], key=lambda artifact: artifact["id"], default=None)
        if found is None:
            raise NotShown(MISSING)
        archive = self._api.download(f"/repos/{self._name}/actions/artifacts/{found['id']}/zip")
        return read_archive(archive)

    def list_changed_files(self) -> Iterator[str]:
        for file in self._api.list_all(f"/repos/{self._name}/pulls/{self._number}/files"):
            yield from (file["filename"], file.get("previous_filename", ""))

    def write(self, text: str) -> None:
        comments = f"/repos/{self._name}/issues/{self._number}/comments"
        for comment in self._api.list_all(comments):
            if comment["body"].startswith(MARK) and comment["user"]["login"] == self._author:
                self._api.call("PATCH", f"/repos/{self._name}/issues/comments/{comment['id']}", {"body": text})
                return
        self._api.call("POST", comments, {"body": text})


class GitLab:
    """A merge request, as the variables of this job name it. The answer is a file of the judge's job."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        project = environment["CI_PROJECT_ID"]
        self.is_fork = environment["CI_MERGE_REQUEST_SOURCE_PROJECT_ID"] != project
        self.commit = environment["CI_COMMIT_SHA"]
        self._file = Path(environment["HELDOUT_ANSWER"], FILE)
        self._request = f"/projects/{quote(project)}/merge_requests/{int(environment['CI_MERGE_REQUEST_IID'])}"
        self._api = Api(environment["CI_API_V4_URL"], {"PRIVATE-TOKEN": environment["HELDOUT_TOKEN"]})

    def read_answer(self) -> bytes:
        """Raises NotShown."""
        return read_answer(self._file)

    def list_changed_files(self) -> Iterator[str]:
        for file in self._api.list_all(f"{self._request}/diffs"):
            yield from (file["new_path"], file["old_path"])

    def write(self, text: str) -> None:
        own = self._api.call("GET", "/user")["id"]
        for note in self._api.list_all(f"{self._request}/notes"):
            if note["body"].startswith(MARK) and note["author"]["id"] == own:
                self._api.call("PUT", f"{self._request}/notes/{int(note['id'])}", {"body": text})
                return
        self._api.call("POST", f"{self._request}/notes", {"body": text})


def read_archive(content: bytes) -> bytes:
    """Read the answer from an artifact's archive. Raises NotShown."""
    if len(content) > MOST_ARCHIVE_BYTES:
        raise NotShown(f"The judge's answer has more than {MOST_BYTES // 1024} KiB, so it is not shown.")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(FILE) as file:
            return file.read(MOST_BYTES + 1)
    except Exception:  # noqa: BLE001 - whatever a hostile archive raises
        raise NotShown("The judge's answer is not as Heldout writes it, so it is not shown.") from None


def write_comment(request: GitHub | GitLab, configuration: str) -> str:
    """Return the comment: the answer, or why there is none, after what this job knows for sure."""
    try:
        answer = check_answer(request.read_answer())
    except NotShown as reason:
        answer = f"# Heldout: No answer\n\n{reason}\n"
    notes = [CHANGED] if configuration in request.list_changed_files() else []
    return "\n\n".join([MARK, *notes, answer.rstrip(), f"Judged at {request.commit[:12]}."])


def main() -> int:
    request = GitHub(os.environ) if "GITHUB_ACTIONS" in os.environ else GitLab(os.environ)
    if request.is_fork:
        print("The change comes from a fork, so there is no comment.")
    else:
        request.write(write_comment(request, os.environ.get("HELDOUT_CONFIGURATION") or ".heldout-judge.json"))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"heldout: the comment could not be written: {error}")
