"""
Settings of the project, begun with "django-admin startproject devops" and cut down to what this app needs.

https://docs.djangoproject.com/en/5.2/ref/settings/
"""

import os

# A real key never stands in a file: whoever has the image can read it. This one signs nothing.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "for-the-course-only")

DEBUG = False

# The course asks by many names: 127.0.0.1, a container's address, a container's name.
ALLOWED_HOSTS = ["*"]

INSTALLED_APPS = ["demo"]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]

ROOT_URLCONF = "devops.urls"

TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

WSGI_APPLICATION = "devops.wsgi.application"

# The app stores nothing.
DATABASES = {}

TIME_ZONE = "UTC"
USE_TZ = True
