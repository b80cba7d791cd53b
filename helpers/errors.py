"""Errors that a learner meets: what was tried, what the engine said, what to do next."""


class CourseError(Exception):
    """
    Something that the course itself could not do.

    ``tried`` says what was tried, ``said`` what was answered, ``remedy`` what to do next.
    """

    def __init__(self, tried: str, said: object, remedy: str):
        self.tried, self.said, self.remedy = tried, str(said).strip(), remedy
        super().__init__(tried, said, remedy)

    def __str__(self):
        return three_sentences(self.tried, self.said, self.remedy)

    def _render_traceback_(self):
        """Jupyter calls this instead of printing a traceback."""
        return [f"{type(self).__name__}: {self}"]


def three_sentences(tried, said, remedy):
    """Return the three sentences as text, one a line: what was tried, what was answered, what to do."""
    said = str(said).strip().replace("\n", "\n    ")
    return f"{tried}\n  answer: {said}\n  next:   {remedy}"


def explain(error, tried, said, remedy):
    """
    Return docker's own exception with three sentences added, to be raised again.

    The exception keeps its type and its evidence (``build_log``, ``exit_status``, ``response``). In a notebook
    the sentences stand in place of the traceback; elsewhere Python prints them as a note below it.

    Example::

        except docker.errors.ImageNotFound as error:
            raise explain(error, "docker run hello", error.explanation, "is the name spelt right?")
    """
    text = three_sentences(tried, said, remedy)
    error.add_note(text)
    error._render_traceback_ = lambda: [f"{type(error).__name__}: {text}"]
    return error


def refusal(event):
    """
    Return why the engine stopped, from an event of a stream such as a pull's, or None.

    From API 1.48 on, an event may have ``errorDetail`` alone; before, ``error`` stands beside it, or alone.

    Example::

        if said := refusal(event):
            raise CourseError("docker pull hello", said, "check the name")
    """
    return (event.get("errorDetail") or {}).get("message") or event.get("error")


def engine_gone(error, tried):
    """Return requests' exception of an engine that no longer answers, explained."""
    return explain(error, tried, error, "has the engine ended? client = connect() finds it, or starts one")
