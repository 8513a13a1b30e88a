"""Operators who are logged in, and figures that are never older than the test."""

import pytest
from django.contrib.auth.models import Permission
from django.core.cache import cache
from django.test import Client

from accounts.models import User


@pytest.fixture(autouse=True)
def no_old_figures():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def operator(venue) -> Client:
    """A superuser's browser."""
    client = Client()
    client.force_login(User.objects.create_superuser("operator", password="correct-horse-battery"))
    return client


@pytest.fixture
def clerk(venue):
    """Makes the browser of a staff user who has just these permissions: clerk("exchange.view_order")."""

    def make(*permissions: str) -> Client:
        user = User.objects.create_user("clerk", password="correct-horse-battery", is_staff=True)
        for name in permissions:
            app, codename = name.split(".")
            user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
        client = Client()
        client.force_login(user)
        return client

    return make
