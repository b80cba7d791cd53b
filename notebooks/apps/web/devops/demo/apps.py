"""The app demo, begun with "python manage.py startapp demo"."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """Name the app."""

    name = "demo"
