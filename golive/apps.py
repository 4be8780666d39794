from django.apps import AppConfig


class GoliveConfig(AppConfig):
    name = "golive"
    verbose_name = "Go-live: permission"

    def ready(self) -> None:
        from golive.permits import issue_paper_permit
        from risk.stops.paper_permits import ISSUER

        ISSUER.register(issue_paper_permit)
