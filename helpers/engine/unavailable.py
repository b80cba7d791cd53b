"""Why a way to an engine is closed."""

from helpers.errors import CourseError


class Unavailable(CourseError):
    """
    One way to an engine does not lead to one.

    ``code`` is one of: missing, not running, permission denied, refused, nowhere, too old, podman, failed.
    ``reason`` says what was seen, ``remedy`` the command or step for this machine.
    """

    def __init__(self, code, reason, remedy):
        self.code, self.reason, self.remedy = code, reason, remedy
        super().__init__(f"{reason}\n  next: {remedy}")
