"""How a study is shown: its arms as intervals around 0, and its answer, in a pipe and on a terminal."""

import io
import json
import shlex
import sys

import pytest

from heldout.cli import progress
from heldout.cli.shown import print_study
from heldout.documents.arms import tabulate_study
from heldout.documents.blocks import Action
from heldout.documents.strips import COLUMNS
from heldout.documents.study import build_estimate, build_study
from heldout.documents.terminal import render_terminal, write_table
from heldout.views.study import StudyEstimateView
from heldout.words.study_answers import describe_study
from tests.heldout.made_views import arm, event, study
from tests.heldout.served import SPEC


def show(study):
    return render_terminal(build_study(study))


def pictures(study):
    """The strips of the first table, in the order of its rows."""
    head, *lines = write_table(tabulate_study(study))
    return [line[head.index("←") :].ljust(COLUMNS) for line in lines]


def test_a_picture_shows_on_which_side_of_0_an_arm_clearly_lies():
    base, better, worse = pictures(study())
    zero = better.index("|")
    assert base.strip() == ""
    assert worse.index("|") == zero
    assert (better[:zero].strip(), worse[zero + 1 :].strip()) == ("", "")
    # The widest bound, -12 points, is at the left end; the others stand where they are in proportion.
    point = (zero - worse.index("-")) / 12
    assert worse.index("o") == pytest.approx(zero - 10 * point, abs=1)
    assert better.index("o") == pytest.approx(zero + 5 * point, abs=1)
    assert (better.index("-"), better.rindex("-")) == pytest.approx((zero + 3 * point, zero + 7 * point), abs=1)


CURE = {"kind": "cure", "remedy": "dropout", "explanation": "Dropout helps.", "refit": "job_9"}


def test_the_answer_says_what_helped_by_how_much_and_what_to_do(capsys):
    print_study(study(conclusion=CURE))
    output = capsys.readouterr().out
    lines = output.splitlines()
    assert lines[0].split() == ["study", "Study", "of", "small", "(std_1)"]
    assert any(line.split() == ["status", "succeeded,", "9", "of", "12", "trainings"] for line in lines)
    [accuracy, loss] = [line.split() for line in lines if line.startswith("dropout (chosen) ")]
    assert accuracy[2:12] == [*("+5.0", "+3.0", "to", "+7.0", "clearly", "better", "82.0", "→", "87.0%", "3")]
    assert loss[2] == "−0.200"
    assert "- horizontal flip: It surely harms." in lines
    assert "- What helped, and by how much? Dropout helps." in lines
    assert "heldout model job_9" in output
    assert lines[-1].endswith("heldout studies report std_1 --html FILE")
    [advice] = [line for line in lines if "--patch" in line]
    command = shlex.split(advice.partition(": ")[2].strip("`"))
    assert command[:5] == ["heldout", "train", "--from", "job_1", "--patch"]
    assert json.loads(command[5]) == {"training": {"label_smoothing": 0.1}}


def test_the_dashboard_gets_requests_for_what_the_terminal_gets_commands_for():
    blocks = build_study(study(conclusion=CURE))
    [train] = [block for block in blocks if isinstance(block, Action) and block.post]
    assert (train.post, train.page) == ("/v1/jobs", "/jobs/{id}")
    assert train.body["training"]["label_smoothing"] == 0.1
    unsure = {"kind": "cannot_tell", "remedy": None, "explanation": "It may be chance.", "undecided": ["dropout"]}
    blocks = build_study(study(conclusion=unsure, can_continue=True, left_out=["l2", "mixup"]))
    offered = [(block.label, block.body, block.is_main) for block in blocks if isinstance(block, Action)]
    assert offered == [
        ("Continue with 2 more remedies", {"remedies": "all"}, True),
        ("Continue with more seeds only", {"remedies": "same"}, False),
    ]


def test_before_a_comparison_only_provisional_means_are_shown():
    so_far = {"seeds": 2, "accuracy": 0.854, "loss": 0.4}
    early = [arm("base", validation=None, provisional=so_far), arm("dropout", validation=None)]
    lines = show(study(status="running", arms=early, conclusion=None))
    rows = {line.split()[0]: line.split() for line in reversed(lines) if line}
    assert rows["base"][1:] == ["–", "–", "–", "85.4%", "so", "far", "2"]
    assert rows["dropout"][1:] == ["–", "–", "–", "–", "3"]
    assert "So far: the mean of the trainings that have ended." in "\n".join(lines)


@pytest.mark.parametrize("objective", ["accuracy", "loss"])
def test_with_an_objective_there_is_the_table_of_that_measure_alone(objective):
    headings = [line.split()[1] for line in show(study(objective=objective)) if line.startswith("REMEDY")]
    assert headings == ["POINTS" if objective == "accuracy" else "LOSS"]


def test_a_study_without_an_answer_says_why():
    nothing = [arm("base", validation=None), arm("dropout", validation=None)]
    early = study(status="running", arms=nothing, conclusion=None)
    output = "\n".join(show(early))
    assert "1 min 15 s left" in output
    assert "Nothing has been compared." in output
    assert "heldout train" not in output
    failed = study(status="failed", error={"code": "base_failed", "detail": "It diverged."}, conclusion=None)
    assert "`base_failed`: It diverged." in show(failed)


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
        return [line.split() for line in capsys.readouterr().out.splitlines()]

    one_seed, two_seeds = ({"seeds": seeds, "accuracy": 0.9 + seeds / 100, "loss": 0.5} for seeds in (1, 2))
    show(None, None)
    assert [row[0] for row in show(one_seed, None)] == ["REMEDY", "base"]
    assert show(one_seed, None) == []
    [row] = show(one_seed, two_seeds)
    assert row[0] == "dropout"
    assert row[-4:] == ["92.0%", "so", "far", "2"]
    assert [row[0] for row in show(two_seeds, two_seeds)] == ["base"]


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
    lines = render_terminal(build_estimate(StudyEstimateView.model_validate(asked)))
    assert [" ".join(line.split()) for line in lines] == [
        "remedies dropout, l2",
        "trainings 9 for the first look at 3 seeds each, about 2 min 10 s; at most 28 until the answer",
        "train and validation each seed has its own fold; the test split is measured once, at the end",
    ]


def test_an_extreme_arm_leaves_room_for_the_others_in_the_picture():
    steady = [arm(f"arm_{n}", 0.01, 0.0, half=0.03) for n in range(3)]
    shown = pictures(study(arms=[arm("base"), *steady, arm("wild", -0.65, 1.5, half=0.9)]))
    assert (shown[-1][0], shown[-1].rstrip()[-1]) == ("<", ">")
    assert shown[1].count("-") > 3


def test_a_learning_curve_is_shown_as_its_sizes_and_its_forecast():
    sizes = [
        {"images": images, "error": error, "interval": (error - 0.01, error + 0.01), "loss": 2 * error, "jobs": ["a"]}
        for images, error in ((400, 0.2), (1600, 0.1))
    ]
    forecast = {"images": 3200, "error": 0.07, "interval": (0.05, 0.09), "explanation": "From 10.0 to about 7.0."}
    curve = {"kind": "learning_curve", "remedies": [], "sizes": sizes, "conclusion": None}
    lines = [line.split() for line in show(study(**curve, forecast=forecast))]
    assert ["400", "20.0%", "19.0%", "to", "21.0%", "0.400", "1", "training"] in [line[:8] for line in lines]
    assert ["3,200", "7.0%", "5.0%", "to", "9.0%", "–", "forecast"] in [line[:7] for line in lines]
    assert ["-", "What", "will", "more", "images", "bring?", "From", "10.0", "to", "about", "7.0."] in lines
    by_group = "\n".join(show(study(**curve, forecast=forecast, objective="worst_group", group_column="camera")))
    assert "accuracy of the worst group (camera)" in by_group
    said = describe_study(study(**curve, forecast=forecast, objective="worst_group"))[1]
    assert "accuracy of the worst group would be about 93%, instead of 90%" in said
    assert ["3,200", "93.0%", "91.0%", "to", "95.0%"] in [line.split()[:5] for line in by_group.splitlines()]
    assert "wrong" not in by_group
    why = show(study(**curve, forecast=None, no_forecast="It rises."))
    assert "- What will more images bring? It rises." in why
