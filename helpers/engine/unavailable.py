"""Why one kind of engine cannot be used."""

from helpers.errors import CourseError


class Unavailable(CourseError):
    """
    One kind of engine cannot be used.

    ``code`` is one of: missing, not running, permission denied, refused, nowhere, too old, podman, failed.
    ``reason`` says what was seen, ``remedy`` the command or step for this machine.
    """

    def __init__(self, code: str, reason: str, remedy: str):
        super().__init__(code, reason, remedy)
        self.code, self.reason = code, reason

    def __str__(self):
        return f"{self.reason}\n  next: {self.remedy}"
