"""The bash that lines are typed into is a terminal's: folders stay, questions are answered, Ctrl-C ends."""

import pytest
import shell

pytestmark = pytest.mark.slow


@pytest.fixture
def typed(tmp_path):
    """Return the function that types a line."""
    with shell.bash(tmp_path, {"WORD": "told"}) as function:
        yield function


def test_what_a_line_prints_and_its_status(typed):
    """Without what was typed, and without colours."""
    assert typed(r"printf '\033[31mred\033[0m\n'; false") == (1, "red\n")
    assert typed("echo $WORD") == (0, "told\n")


def test_a_folder_stays(typed, tmp_path):
    """A cd holds for the next line."""
    typed("mkdir below; cd below")
    assert typed("pwd") == (0, f"{tmp_path}/below\n")


def test_it_is_a_terminal(typed):
    """Programs print what they print for people."""
    assert typed("test -t 0 && test -t 1 && tty < /dev/tty")[0] == 0


def test_questions_are_answered(typed):
    """Each when it is asked."""
    questions = "read -p 'Name: ' a; read -sp 'Password: ' b; echo $a-$b"
    status, output = typed(questions, [("Name: ", "ada\n"), ("Password: ", "secret\n")])
    assert status == 0 and output.endswith("ada-secret\n")


def test_ctrl_c_at_a_sign(typed):
    """What would never end is ended when it has said enough."""
    status, output = typed("echo enough; sleep 60", until="enough")
    assert status == 130 and output.startswith("enough\n")


def test_what_does_not_end_has_no_status(typed):
    """And the next line is typed all the same."""
    assert typed("sleep 60", seconds=0.2)[0] is None
    assert typed("echo next") == (0, "next\n")
