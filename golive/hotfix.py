"""Another freeze under what is activated: the path of a hotfix while live, and of every other drift.

1. The new code (or rules, or lock) is started. The guard sees that it is not what was frozen: the account
   only reduces, its exits, stops and targets go on as before.
2. Pre-flight passes on what runs now, and one person asks: `manage.py golive config adopt`. What runs now
   is frozen, and the request says how it differs from what was frozen before.
3. Another person approves. In that transaction what is loaded is compared with the new freeze once more;
   the activation then stands on it, and the account may add risk again. Its limits and its permit stay.
4. Or the old code is started again: what is loaded is what was frozen, and nothing has to be approved.
"""

from datetime import timedelta

from django.db.models import F

from controlplane.approvals.core import Actor, Role
from controlplane.approvals.kinds import KINDS, RequestKind
from controlplane.approvals.models import ApprovalRequest
from controlplane.approvals.requests import asking, open_request
from controlplane.approvals.selectors import list_open_requests
from controlplane.audit.services import record
from controlplane.code_version import get_code_version
from controlplane.errors import Conflict, NotFound
from golive.ceiling import find_raised_above, require_config, require_enabled
from golive.config_file import hold_config
from golive.core.values import Purpose
from golive.freeze import Drift, find_drift, find_unloaded, take_freeze
from golive.holds import require_released
from golive.models import Activation, Freeze
from golive.programme_rules import get_programme_rules
from golive.selectors import get_latest_run
from golive.standing import ACTOR
from risk.core.emergency_stop import Cause
from risk.limits import get_limits
from risk.reducing.restrictions import lift
from trading.core.values import Clocks
from trading.models import Account
from trading.selectors import get_account, get_clocks

ADOPTION = "golive.adopt_freeze"


class NothingActivated(NotFound):
    """No activation of the account stands."""

    code = "nothing_activated"


class NothingDrifted(Conflict):
    """What is loaded is what was frozen: there is nothing to approve."""

    code = "nothing_drifted"


class NotReady(Conflict):
    """What is loaded cannot be frozen or adopted now; the text says why."""

    code = "not_ready"


class ChangedSince(Conflict):
    """What is loaded, or what stands, is not what was approved any more; ask anew."""

    code = "changed_since"


class AdoptionAsked(Conflict):
    """Such a request stands already."""

    code = "adoption_asked"


def request_adoption(
    *, account: Account, reason: str, actor: Actor, otp: str | None = None
) -> ApprovalRequest:
    """Freeze what is loaded now and ask that the account's activation stand on it.

    Raises NothingActivated, NothingDrifted, NotReady, AdoptionAsked and what `open_request` raises.
    """
    with asking(kind=ADOPTION, subject={"account": account.name}, reason=reason, actor=actor):
        activation = _find_standing(account)
        drift = find_drift(activation.freeze, account)
        if not drift:
            raise NothingDrifted(f"what is loaded is what was frozen for {account.name}")
        if any(row.subject["account"] == account.name for row in list_open_requests().filter(kind=ADOPTION)):
            raise AdoptionAsked(f"the adoption of a freeze for {account.name} was asked already")
        _require_ready(activation, get_clocks())
        freeze = take_freeze(actor.audit_name)
    subject = _describe(activation, freeze, drift)
    return open_request(kind=ADOPTION, subject=subject, reason=reason, actor=actor, otp=otp)


def _describe(activation: Activation, freeze: Freeze, drift: list[Drift]) -> dict[str, object]:
    return {
        "account": activation.account.name,
        "activation": activation.pk,
        "profile": activation.profile,
        "frozen": activation.freeze.digest,
        "freeze": freeze.digest,
        "freeze_id": freeze.pk,
        "code_version": freeze.code_version,
        "changes": {item.group: item.text for item in drift},
    }


def apply_adoption(request: ApprovalRequest, actor: Actor) -> None:
    """The effect of the approval, in the vote's transaction: everything is looked at again."""
    asked = request.subject
    account = get_account(asked["account"])
    require_released(account)
    hold_config()
    activation, clocks = _find_standing(account, lock=True), get_clocks()
    freeze = Freeze.objects.get(pk=asked["freeze_id"])
    if (activation.pk, activation.freeze.digest) != (asked["activation"], asked["frozen"]):
        raise ChangedSince("another activation or freeze stands than when this was asked; ask anew")
    if drift := find_drift(freeze, account):
        raise ChangedSince(f"what is loaded is not what was frozen: {drift[0]}; ask anew")
    _require_ready(activation, clocks)
    Activation.objects.filter(pk=activation.pk).update(
        freeze=freeze, config=require_config(), version=F("version") + 1
    )
    because = "another freeze was approved"
    lift(scope=f"account:{account.name}", cause=Cause.DRIFT, because=because, actor=ACTOR, clocks=clocks)
    record(
        action="golive.adopt",
        actor=actor.audit_name,
        subject_type="account",
        subject_id=account.name,
        reason=request.reason,
        detail={**asked, "request": request.pk, "requested_by": request.proposer_name},
    )


def _find_standing(account: Account, *, lock: bool = False) -> Activation:
    rows = Activation.objects.select_related("freeze", "account", "permit")
    rows = rows.select_for_update(of=("self",)) if lock else rows
    row = rows.filter(account=account, ended_at__isnull=True).first()
    if row is None:
        raise NothingActivated(f"no activation of {account.name} stands")
    return row


def _require_ready(activation: Activation, clocks: Clocks) -> None:
    """The files are what is loaded, the ceiling has room, and this code has passed its pre-flight lately."""
    config = require_config()
    require_enabled(config)
    limits = get_limits(activation.permit.limit_set_digest)
    if limits is None or find_raised_above(limits):
        raise NotReady("the account's limits are above the ceiling in force")
    if unloaded := find_unloaded():
        raise NotReady(f"the file is not what is loaded: {unloaded[0]}")
    run = get_latest_run(Purpose.GOLIVE, is_complete=True)
    age = get_programme_rules().preflight_age
    if run is None or not run.is_passed or run.code_version != get_code_version():
        raise NotReady("pre-flight has not passed on this version of the code; `manage.py preflight`")
    if run.finished_at is None or clocks.wall_at - run.finished_at > age:
        raise NotReady(f"the last pre-flight is older than {age}; `manage.py preflight`")


def register_kind() -> None:
    KINDS.register(
        RequestKind(
            name=ADOPTION,
            title="Let an activation stand on another freeze",
            requester_roles=frozenset({Role.REQUESTER, Role.OPERATOR}),
            approver_roles=frozenset({Role.APPROVER}),
            quorum=1,
            approval_ttl=timedelta(hours=24),
            solo_allowed=True,
            effect=apply_adoption,
        )
    )
