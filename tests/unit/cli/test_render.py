"""Progress goes to standard error and shows rate, time left and live figures."""

import io

from rich.console import Console

from medaug.cli.render import TerminalBar


def test_a_bar_shows_label_count_rate_and_note() -> None:
    screen = io.StringIO()
    with TerminalBar(Console(file=screen, force_terminal=True, width=120)) as bar:
        bar.start("Training [2D]", 4)
        bar.advance(3, "loss 0.5")
        bar.say("one line [for] people")
        bar.start("Second", 1)
        bar.advance()
    shown = screen.getvalue()
    for words in ("Training [2D]", "3/4", "loss 0.5", "/s", "one line [for] people", "Second"):
        assert words in shown


def test_progress_before_start_is_no_error() -> None:
    screen = io.StringIO()
    with TerminalBar(Console(file=screen, force_terminal=True, width=120)) as bar:
        bar.advance()
    assert "Traceback" not in screen.getvalue()


def test_without_a_terminal_every_step_is_a_plain_line() -> None:
    screen = io.StringIO()
    with TerminalBar(Console(file=screen, force_terminal=False, width=120)) as bar:
        bar.start("Training", 4)
        bar.advance(4)
        bar.say("done " * 30)
    assert screen.getvalue() == "Training (4)\n" + "done " * 30 + "\n"  # never broken at some width
