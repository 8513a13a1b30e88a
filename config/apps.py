from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class ConfigConfig(AppConfig):
    name = "config"
    default = True

    def ready(self):
        from config import checks, openapi, unhurried  # noqa: F401  they register themselves


class OperatorsConfig(admin_apps.AdminConfig):
    """Django's admin with the operators' own door."""

    default_site = "accounts.operator_login.OperatorSite"
    default = False
