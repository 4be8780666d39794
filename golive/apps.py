from django.apps import AppConfig


class GoliveConfig(AppConfig):
    name = "golive"
    verbose_name = "Go-live: permission"

    def ready(self) -> None:
        from golive import activation, hotfix
        from golive.ceiling import find_raised_above
        from golive.holds import is_held, register_kind
        from golive.permits import issue_paper_permit
        from risk.ceiling import CEILING
        from risk.latch import LATCH
        from risk.stops.paper_permits import ISSUER

        ISSUER.register(issue_paper_permit)
        CEILING.register(find_raised_above)
        activation.register_kind()
        hotfix.register_kind()
        LATCH.register(is_held)
        register_kind()
