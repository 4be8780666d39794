"""The sidebar: what an operator looks for first comes first."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

# title, [(label, model or the name of a page, icon)]
SECTIONS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Now",
        (
            ("Open positions", "positions", "balance"),
            ("Decisions", "risk.decision", "gavel"),
            ("Orders", "trading.order", "receipt_long"),
            ("Trades", "trading.trade", "swap_horiz"),
            ("Alerts", "alerts.alert", "notifications"),
        ),
    ),
    (
        "Go-live",
        (
            ("Accounts on their way", "golive", "rocket_launch"),
            ("Requests", "approvals.approvalrequest", "how_to_vote"),
            ("Programmes", "golive.programme", "flag"),
            ("Activations", "golive.activation", "power"),
            ("Rollbacks", "golive.rollback", "undo"),
            ("Holds", "golive.hold", "pan_tool"),
            ("Demotions", "golive.demotion", "trending_down"),
            ("Reports", "golive.validationreport", "summarize"),
        ),
    ),
    (
        "Safety",
        (
            ("Stopped or reducing", "restrictions", "block"),
            ("Emergency stops", "risk.stopevent", "front_hand"),
            ("Trading states", "trading.tradingstate", "traffic"),
            ("Global risk", "risk.globalrisk", "monitoring"),
            ("Watches", "risk.watch", "visibility"),
            ("Permits", "trading.permit", "verified_user"),
            ("Limit sets", "risk.limitset", "speed"),
            ("Overrides", "risk.override", "edit_attributes"),
            ("Throttles", "risk.activity", "slow_motion_video"),
            ("Preflight runs", "golive.preflightrun", "checklist"),
        ),
    ),
    (
        "Facts",
        (
            ("Positions", "trading.position", "balance"),
            ("Intents", "trading.orderintent", "psychology"),
            ("Order events", "trading.orderevent", "history"),
            ("Fills", "trading.fill", "done_all"),
            ("Income", "trading.income", "payments"),
            ("Equity", "trading.equitysample", "show_chart"),
            ("Reconciliations", "trading.reconciliationrun", "compare_arrows"),
            ("Cycles", "trading.cyclerun", "cycle"),
            ("Prices", "trading.marketprice", "candlestick_chart"),
            ("Instruments", "trading.instrument", "straighten"),
            ("Venue settings", "trading.venuesetting", "tune"),
            ("Market clock", "trading.marketclock", "schedule"),
            ("Heartbeats", "trading.heartbeat", "favorite"),
        ),
    ),
    (
        "Desk",
        (
            ("Accounts", "trading.account", "account_balance"),
            ("Venue accounts", "trading.venueaccount", "storefront"),
            ("Strategies", "trading.strategyassignment", "route"),
            ("Books", "risk.accountbook", "menu_book"),
            ("People", "auth.user", "person"),
            ("Groups", "auth.group", "group"),
            ("Designations", "approvals.designation", "badge"),
            ("Second factors", "approvals.secondfactor", "phonelink_lock"),
            ("API tokens", "approvals.apitoken", "key"),
            ("Approval mode", "approvals.approvalmode", "groups"),
        ),
    ),
    (
        "Evidence",
        (
            ("Audit log", "audit.auditevent", "fact_check"),
            ("Seals", "audit.seal", "approval"),
            ("Chain head", "audit.audithead", "link"),
            ("Votes", "approvals.vote", "ballot"),
            ("Second-factor uses", "approvals.secondfactoruse", "pin"),
            ("Credential changes", "approvals.credentialchange", "manage_history"),
            ("Stop steps", "risk.stopstep", "format_list_numbered"),
            ("Restrictions", "risk.restriction", "do_not_disturb_on"),
            ("Capital bases", "risk.capitalbase", "savings"),
            ("Checks for re-arming", "risk.rearmcheck", "rule_settings"),
            ("Drills", "risk.drill", "fire_extinguisher"),
            ("Preflight checks", "golive.preflightcheck", "rule"),
            ("Canaries", "golive.canary", "air"),
            ("Stress results", "golive.stressresult", "bolt"),
            ("Configurations", "golive.goliveconfig", "settings"),
            ("Freezes", "golive.freeze", "ac_unit"),
            ("Observations", "golive.observation", "search"),
            ("Guards of activations", "golive.guardcount", "shield"),
            ("Guard trips", "golive.guardtrip", "crisis_alert"),
            ("Signatures", "golive.checklistsignature", "draw"),
            ("Evaluations", "golive.evaluation", "stairs"),
            ("Uptime", "golive.uptimeslot", "timer"),
            ("Deliveries", "alerts.delivery", "outgoing_mail"),
            ("Alert channels", "alerts.channelhealth", "cell_tower"),
        ),
    ),
)


def _address(name: str) -> str:
    return reverse(f"admin:{name.replace('.', '_')}_changelist" if "." in name else name)


def list_sections(request: HttpRequest) -> list[dict[str, Any]]:
    """Unfold's navigation; a model without a page is left out."""
    overview = {"title": "Overview", "icon": "home", "link": reverse("admin:index")}
    sections: list[dict[str, Any]] = [{"items": [overview]}]
    pages = {model._meta.label_lower for model in admin.site._registry}
    for title, entries in SECTIONS:
        items = [
            {"title": label, "icon": icon, "link": _address(name)}
            for label, name, icon in entries
            if name in pages or "." not in name
        ]
        sections.append({"title": title, "separator": True, "items": items})
    return sections
