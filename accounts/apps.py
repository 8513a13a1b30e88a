from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self):
        from accounts import market_rules, revocation

        market_rules.connect()
        revocation.connect()
