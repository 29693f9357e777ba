"""What a follower reports, in which order, and how lines and bars show it."""

import io
import os
import pty
import re
import sys
import threading
from contextlib import suppress

import pytest

from heldout.cli import progress
from heldout.cli.figures import format_epoch_figures, format_moment, format_points
from heldout.cli.progress import Follower
from heldout.cli.screen import print_table
from heldout.markup import make_visible
from models.store import claims
from tests.heldout.made_views import epoch, event, job
from tests.heldout.served import FIGURES, SPEC


class Recorder(progress.Display):
    """A display that records its calls."""

    def __init__(self):
        self.shown = []

    def epoch(self, job, epoch):
        self.shown.append(epoch.epoch)

    def event(self, subject, event):
        self.shown.append(event.type.removeprefix("job."))


@pytest.fixture
def job_id(client):
    return client.jobs.create(SPEC).id


def test_an_epoch_is_reported_once_and_next_to_its_event(service, client, job_id):
    recorder = Recorder()
    follower = Follower(client, recorder)
    held = service.begin(job_id)
    follower.show(client.jobs.get(job_id))
    service.measure(held, 1)
    service.measure(held, 2)
    service.succeed(held)
    for _ in range(2):
        follower.show(client.jobs.get(job_id))
    assert recorder.shown == ["queued", "started", "epoch", 1, "epoch", 2, "succeeded"]


def test_an_epoch_that_is_measured_between_two_polls_is_reported(service, client, job_id):
    recorder = Recorder()
    held = service.begin(job_id)
    before = client.jobs.get(job_id)
    service.measure(held, 1)
    Follower(client, recorder).show(before)
    assert recorder.shown == ["queued", "started", "epoch", 1]


def test_epochs_that_another_attempt_repeats_are_reported_again(service, client, job_id):
    recorder = Recorder()
    follower = Follower(client, recorder)
    held = service.begin(job_id)
    service.measure(held, 1)
    follower.show(client.jobs.get(job_id))
    with service.database.write() as session:
        claims.release(session, held)
    again = service.begin(job_id)
    with service.database.write() as session:
        claims.record_start(session, again, engine={}, spec=client.jobs.get(job_id).spec, start_epoch=0)
    follower.show(client.jobs.get(job_id))
    service.measure(again, 1)
    follower.show(client.jobs.get(job_id))
    assert recorder.shown == ["queued", "started", "epoch", 1, "requeued", "started", "epoch", 1]


JOB, EPOCH = job(), epoch(3)


def test_a_line_is_an_epoch_with_its_figures(capsys):
    progress.Lines(name_width=7).epoch(JOB, EPOCH)
    expected = "small    epoch  3/10  train 97.1%  validation 95.5%  loss 0.091/0.153  2 s\n"
    assert capsys.readouterr().out == expected


def test_a_warning_is_reported_with_the_end_of_its_log(capsys):
    progress.Lines().event(JOB, event(log=["one", "two\x1b[2J"]))
    assert capsys.readouterr().out == "small  warning: Something.\nsmall    one\nsmall    two\\x1b[2J\n"


def test_a_checkpoint_is_not_reported(capsys):
    progress.Lines().event(JOB, event("job.checkpoint", "info"))
    assert capsys.readouterr().out == ""


def on_a_terminal(show, columns=100):
    """Return what `show()` writes if standard output is a terminal."""
    main, side = pty.openpty()
    chunks = []

    def read():
        while True:
            try:
                chunk = os.read(main, 65536)
            except OSError:
                return
            if not chunk:
                return
            chunks.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    stream = io.TextIOWrapper(os.fdopen(side, "wb", buffering=0), encoding="utf-8", write_through=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        patched.setenv("TERM", "xterm-256color")
        patched.setenv("COLUMNS", str(columns))
        show()
    stream.close()
    reader.join()
    os.close(main)
    return b"".join(chunks).decode()


def strip_colors(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_a_bar_is_drawn_and_the_cursor_comes_back(columns):
    def show():
        with progress.display() as display:
            display.job(JOB)
            display.epoch(JOB, EPOCH)
            display.event(JOB, event())
            progressed = {"epoch": 10, "epochs": 10, "eta_s": None}
            display.job(job(status="succeeded", progress=progressed, finished_at="2025-11-24T15:42:02.000Z"))

    raw = on_a_terminal(show, columns)
    drawn = strip_colors(raw)
    assert "small  warning: Something." in drawn
    assert "10/10" in drawn
    assert "train 97.1%  validation 95.5%" in drawn
    assert ("loss 0.091/0.153" in drawn) == (columns == 120)
    assert "…" not in drawn
    assert raw.rfind("\x1b[?25h") > raw.rfind("\x1b[?25l")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_bar_shows_the_time_left(columns):
    def show():
        with progress.display() as display:
            display.job(JOB)
            display.epoch(JOB, EPOCH)

    drawn = strip_colors(on_a_terminal(show, columns))
    assert "1 min 15 s left train 97.1%  validation 95.5%" in drawn
    assert all(len(line) <= columns for line in re.split(r"[\r\n]+", drawn.replace("\x1b[2K", "")))


def test_an_interrupted_bar_gives_the_cursor_back():
    def show():
        with suppress(KeyboardInterrupt), progress.display() as display:
            display.job(JOB)
            raise KeyboardInterrupt

    raw = on_a_terminal(show)
    assert raw.rfind("\x1b[?25h") > raw.rfind("\x1b[?25l") > -1


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_a_dumb_terminal_gets_lines(term):
    def show():
        os.environ["TERM"] = term
        assert isinstance(progress.display(), progress.Lines)

    on_a_terminal(show)


def test_missing_figures_are_dashes():
    nothing = epoch(1, **dict.fromkeys(FIGURES))
    assert format_epoch_figures(nothing) == "train –  validation –  loss –/–"
    at_end = epoch(1, train_loss=None, train_accuracy=None)
    assert format_epoch_figures(at_end).endswith("(training is measured at the end)")
    assert (format_points(None), format_moment(None)) == ("–", "–")


def test_points_have_a_sign():
    assert [format_points(value) for value in (0.0383, -0.021, 0.0)] == ["+3.8", "−2.1", "0.0"]


def test_columns_are_as_wide_as_their_widest_cell(capsys):
    print_table(("A", "NUMBER"), [("long cell", "1"), ("b", "1,000")], right=(1,))
    assert capsys.readouterr().out == "A          NUMBER\nlong cell       1\nb           1,000\n"


@pytest.mark.parametrize(
    ("text", "shown"), [("plain ü", "plain ü"), ("\x1b[2J", "\\x1b[2J"), ("a\nb\u202e", "a\\nb\\u202e")]
)
def test_control_characters_are_made_visible(text, shown):
    assert make_visible(text) == shown
