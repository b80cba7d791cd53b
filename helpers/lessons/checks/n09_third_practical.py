"""Exercises of 09: the third practical."""

from helpers.containers.outcome import exit_status
from helpers.images.layers import size
from helpers.lessons.checks.checking import exercise
from helpers.lessons.checks.observing import answer_to_line, end_of_text

AUTHORS_LABEL = "org.opencontainers.image.authors"


@exercise("09-answer", "container", "a container that has ended still has its log. Who removed it, in `calculate`?")
def answer_in_log(client, container):
    """Have the calculator compute 6 * 7, and keep its container with the answer in its log."""
    exit_status(container, awake=True)  # it may be at work still
    container.reload()
    text = container.logs().decode(errors="replace")
    yield "its log has the answer", "6 * 7 = 42" in text, f"its log says: {end_of_text(text)}. Did it get the line?"
    ended = container.status == "exited" and container.attrs["State"]["ExitCode"] == 0
    yield "and it has ended by itself", ended, "it still waits for a line. How does it learn that none will come?"
    computes = "40 + 2 = 42" in answer_to_line(client, container.image, "40 + 2")
    yield "its image is the calculator's", computes, "it does not compute another line. Which image did you run?"


@exercise("09-signed", "image", "which instruction writes down who made an image, and adds no file?")
def signed_image(client, image):
    """Make an image of the calculator, below 2 MB, that tells its author in the usual label."""
    said = answer_to_line(client, image, "40 + 2")
    yield "it computes", "40 + 2 = 42" in said, f"it said: {end_of_text(said)}. What does ENTRYPOINT name?"
    mb = size(image) / 1e6
    yield f"it is smaller than 2 MB (it has {mb:.3g} MB)", mb < 2, "what does its last FROM begin with?"
    author = (image.labels or {}).get(AUTHORS_LABEL, "").strip()
    yield f"its label {AUTHORS_LABEL} has a name", author, "LABEL name=value; in which stage does it count?"
