from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    name = "controlplane.approvals"
    label = "approvals"
    verbose_name = "Approvals: who may"

    def ready(self) -> None:
        from controlplane.approvals import people, sign_in

        sign_in.connect()
        people.register_kinds()
