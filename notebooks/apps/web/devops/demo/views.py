"""What the app answers."""

import platform

from django.shortcuts import render


def index(request):
    """Return the one page of this app."""
    return render(request, "demo.html", {"python": platform.python_version(), "host": platform.node()})
