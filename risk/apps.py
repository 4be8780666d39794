from django.apps import AppConfig


class RiskConfig(AppConfig):
    name = "risk"
    verbose_name = "Risk: judgement"

    def ready(self) -> None:
        from risk import overrides

        overrides.register_kind()
