from django.apps import AppConfig


class RiskConfig(AppConfig):
    name = "risk"
    verbose_name = "Risk: judgement"

    def ready(self) -> None:
        from risk import overrides
        from risk.reducing import releases
        from risk.stops import rearm

        overrides.register_kind()
        rearm.register_kind()
        releases.register_kind()
