"""How a study is shown: its arms as intervals around 0, and its answer, in a pipe and on a terminal."""

import io
import json
import shlex
import sys

import pytest

from heldout.cli import progress
from heldout.cli.shown_study import HEADINGS, PICTURE_WIDTH, build_arm_rows, show_estimate, show_study
from heldout.views.study import StudyEstimateView
from tests.heldout.made_views import arm, event, study
from tests.heldout.served import SPEC


def test_a_picture_shows_on_which_side_of_0_an_arm_clearly_lies():
    middle = PICTURE_WIDTH // 2
    pictures = [row[-1] for row in build_arm_rows(study())]
    assert pictures[0] == " " * middle + "|"
    better, worse = pictures[1].ljust(PICTURE_WIDTH), pictures[2].ljust(PICTURE_WIDTH)
    assert better[middle] == worse[middle] == "|"
    assert (better[:middle].strip(), worse[middle + 1 :].strip()) == ("", "")
    # The widest bound, -12 points, is the left end; the others stand where they are in proportion.
    assert (worse.index("-"), worse.index("o")) == (0, middle + round(-10 / 12 * middle))
    assert better.index("o") == middle + round(5 / 12 * middle)
    assert (better.index("-"), better.rindex("-")) == (middle + round(3 / 12 * middle), middle + round(7 / 12 * middle))
    assert HEADINGS[-1].index("|") == middle


CURE = {"kind": "cure", "remedy": "dropout", "explanation": "Dropout helps.", "refit": "job_9"}


def test_the_answer_says_what_helped_by_how_much_and_what_to_do(capsys):
    show_study(study(conclusion=CURE))
    output = capsys.readouterr().out
    lines = output.splitlines()
    assert lines[0] == "Study of small succeeded (std_1): 9 of 12 trainings"
    [row] = [line.split() for line in lines if line.startswith("dropout ")]
    assert row[:6] == ["dropout", "finished", "3", "82.0", "→", "87.0%"]
    assert row[6:11] == ["+5.0", "+3.0", "to", "+7.0", "−0.200"]
    assert "horizontal flip: It surely harms." in lines
    assert "Dropout helps." in lines
    assert "heldout model job_9" in output
    assert lines[-1].endswith("heldout studies report std_1 --html FILE")
    [advice] = [line for line in lines if "--patch" in line]
    command = shlex.split(advice.partition(": ")[2])
    assert command[:5] == ["heldout", "train", "--from", "job_1", "--patch"]
    assert json.loads(command[5]) == {"training": {"label_smoothing": 0.1}}


def test_before_a_comparison_only_provisional_means_are_shown(capsys):
    so_far = {"seeds": 2, "accuracy": 0.854, "loss": 0.4}
    early = [arm("base", validation=None, provisional=so_far), arm("dropout", validation=None)]
    show_study(study(status="running", arms=early, conclusion=None))
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line}
    assert rows["base"][2:] == ["2", "85.4%", "so", "far", "–", "–", "–", "–", "|"]
    assert rows["dropout"][2:] == ["3", "–", "–", "–", "–", "–", "|"]
    assert lines[-1].startswith("So far: the mean of the trainings that have ended.")


@pytest.mark.parametrize(
    ("objective", "shown"),
    [("accuracy", ["ACCURACY", "POINTS", "SURELY", "WORSE"]), ("loss", ["LOSS", "CHANGE", "SURELY"])],
)
def test_with_an_objective_the_table_has_the_columns_of_that_measure(capsys, objective, shown):
    show_study(study(objective=objective))
    heading = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("REMEDY"))
    assert heading.split()[3 : 3 + len(shown)] == shown


def test_a_table_of_losses_has_means_and_their_changes_in_columns_of_their_own(capsys):
    so_far = {"seeds": 1, "accuracy": 0.854, "loss": 0.4}
    early = arm("mixup", validation=None, provisional=so_far)
    show_study(study(objective="loss", status="running", arms=[arm("base"), arm("dropout", 0.05, -0.2), early]))
    rows = {line.split()[0]: line.split()[3:] for line in capsys.readouterr().out.splitlines() if line}
    assert rows["mixup"] == ["0.400", "so", "far", "–", "–"]
    assert rows["dropout"][:4] == ["0.600", "→", "0.400", "−0.200"]


@pytest.mark.parametrize(("columns", "headings"), [(200, 9), (110, 8), (60, 5), (20, 5)])
def test_a_narrow_terminal_omits_the_last_columns(monkeypatch, capsys, columns: int, headings: int):
    monkeypatch.setattr("heldout.cli.screen.get_terminal_width", lambda: columns)
    show_study(study())
    heading = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("REMEDY"))
    assert heading.rstrip().endswith(HEADINGS[headings - 1].strip())


def test_a_study_without_a_comparison_shows_no_figures_or_commands(capsys):
    early = study(
        status="running", arms=[arm("base", validation=None), arm("dropout", validation=None)], conclusion=None
    )
    show_study(early)
    output = capsys.readouterr().out
    assert "1 min 15 s left" in output
    assert "heldout train" not in output
    assert [set(row[3:8]) for row in build_arm_rows(early)] == [{"–"}] * 2
    failed = study(status="failed", error={"code": "base_failed", "detail": "It diverged."}, conclusion=None)
    show_study(failed)
    assert "base_failed: It diverged." in capsys.readouterr().out
    nothing = {"kind": "nothing_helped", "remedy": None, "explanation": "Nothing helped."}
    show_study(study(conclusion=nothing))
    output = capsys.readouterr().out
    assert "Nothing helped.\n" in output
    assert "heldout train" not in output


def test_lines_report_events_and_each_tenth_of_the_trainings(capsys):
    lines = progress.StudyLines()
    early = [arm("base", validation=None)]
    for done in range(25):
        lines.study(study(status="running", arms=early, progress={"jobs": 24, "done": done, "eta_s": None}))
    lines.event(study(), event("study.arm_dropped"))
    lines.event(study(), event("study.succeeded"))
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "3 of 24 trainings"
    assert len(output) == 11
    assert output[-1] == "arm dropped: Something."


def test_in_a_pipe_a_row_is_printed_whenever_its_figures_change(capsys):
    lines = progress.StudyLines()

    def show(*provisional, **fields):
        arms = [
            arm(name, validation=None, provisional=so_far)
            for name, so_far in zip(("base", "dropout"), provisional, strict=True)
        ]
        lines.study(study(status="running", arms=arms, **fields))
        return [line.split()[:1] + line.split()[2:6] for line in capsys.readouterr().out.splitlines()]

    one_seed, two_seeds = ({"seeds": seeds, "accuracy": 0.9 + seeds / 100, "loss": 0.5} for seeds in (1, 2))
    show(None, None)
    assert [row[0] for row in show(one_seed, None)] == ["REMEDY", "base"]
    assert show(one_seed, None) == []
    assert show(one_seed, two_seeds) == [["dropout", "2", "92.0%", "so", "far"]]
    assert show(two_seeds, two_seeds) == [["base", "2", "92.0%", "so", "far"]]


def test_on_a_terminal_the_arms_are_redrawn_and_erased_at_the_end(monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with progress.make_study_display() as display:
        display.study(study(status="running", name="[red]mine\x1b[2J"))
        display.event(study(), event("study.arm_dropped"))
    drawn = screen.getvalue()
    assert "[red]mine\\x1b[2J: 9 of 12 trainings, at most 1 min 15 s left" in drawn
    assert "+3.0 to +7.0" in drawn
    assert "arm dropped: Something." in drawn
    assert drawn.rstrip().endswith(("\x1b[2K", "\x1b[?25h"))


def test_an_estimate_shows_the_cost(capsys):
    asked = {
        "object": "study_estimate",
        "spec": SPEC,
        "remedies": ["dropout", "l2"],
        "splits": "resampled",
        "seeds": 3,
        "jobs": 9,
        "max_jobs": 28,
        "seconds": 130.0,
    }
    show_estimate(StudyEstimateView.model_validate(asked))
    assert capsys.readouterr().out.splitlines() == [
        "remedies: dropout, l2",
        "9 trainings for the first look at 3 seeds each, about 2 min 10 s; at most 28 until the answer",
        "train and validation: each seed has its own fold; the test split is measured once, at the end",
    ]


def test_an_extreme_arm_leaves_room_for_the_others_in_the_picture():
    steady = [arm(f"arm_{n}", 0.01, 0.0, half=0.03) for n in range(3)]
    rows = build_arm_rows(study(arms=[*steady, arm("wild", -0.65, 1.5, half=0.9)]))
    pictures = [row[-1] for row in rows]
    assert (pictures[-1][0], pictures[-1].rstrip()[-1]) == ("<", ">")
    assert pictures[0].count("-") > 5


def test_a_learning_curve_is_shown_as_its_sizes_and_its_forecast(capsys):
    sizes = [
        {"images": images, "error": error, "interval": (error - 0.01, error + 0.01), "loss": 2 * error}
        for images, error in ((400, 0.2), (1600, 0.1))
    ]
    forecast = {"images": 3200, "error": 0.07, "interval": (0.05, 0.09), "explanation": "From 10.0 to about 7.0."}
    curve = {"kind": "learning_curve", "remedies": [], "sizes": sizes, "conclusion": None}
    show_study(study(**curve, forecast=forecast))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["400", "20.0%", "19.0%", "to", "21.0%", "0.400"] in lines
    assert ["3,200", "7.0%", "5.0%", "to", "9.0%", "–", "forecast"] in lines
    assert lines[-1] == ["From", "10.0", "to", "about", "7.0."]
    show_study(study(**curve, forecast=None, no_forecast="It rises."))
    assert capsys.readouterr().out.endswith("There is no forecast. It rises.\n")
