"""The fault that Django's skeleton invites: the key stands in the file. Never do this."""

SECRET_KEY = "a-key-that-stands-in-the-file"
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "devops.urls"
INSTALLED_APPS = ["demo"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {}
