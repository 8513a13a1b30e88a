"""Logging in without a request, as a shell and Django's own test client do: there is nobody to count."""

from django.contrib.auth import authenticate
from django.test import Client

from accounts.models import User
from tests.venue import PASSWORD


def test_a_password_is_checked_without_a_request(venue):
    venue.trader("ann")
    assert authenticate(username="ann", password=PASSWORD) == User.objects.get(username="ann")
    assert authenticate(username="ann", password="wrong") is None


def test_the_test_clients_login_opens_the_admin(venue):
    User.objects.create_superuser("root", password=PASSWORD)
    client = Client()
    assert not client.login(username="root", password="wrong")
    assert client.login(username="root", password=PASSWORD)
    assert client.get("/admin/").status_code == 200
