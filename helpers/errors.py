"""Errors that a learner meets: what was tried, what the engine said, what to do next."""


class CourseError(Exception):
    """Something that the course itself could not do; its text says what to do next."""

    def _render_traceback_(self):
        """Jupyter calls this instead of printing a traceback."""
        return [f"{type(self).__name__}: {self}"]


def message(tried, said, remedy):
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
    text = message(tried, said, remedy)
    error.add_note(text)
    error._render_traceback_ = lambda: [f"{type(error).__name__}: {text}"]
    return error


def gone(error, tried):
    """Return requests' exception of an engine that does not answer any more, explained."""
    return explain(error, tried, error, "has the engine ended? client = connect() finds it, or starts one")
