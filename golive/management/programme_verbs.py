"""`golive status|open|conditions|advance|request|approve|reject|activate|confirm|withdraw`."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser, OutputWrapper

from controlplane.approvals.core import VoteDecision
from controlplane.approvals.describing import describe_request
from controlplane.approvals.selectors import get_actor
from controlplane.approvals.voting import vote_on_request
from controlplane.errors import InvalidInput
from golive import services
from golive.activation import ACTIVATION, TYPED_LIMITS
from golive.ceiling import require_config
from golive.describing import describe_account, describe_activation, describe_programme
from golive.models import Programme
from golive.programme import find_open_programme, get_open_programme
from trading.models import Account
from trading.selectors import get_account, list_accounts


def add_verbs(verbs: Any) -> tuple[CommandParser, ...]:
    """Add the verbs; returns their parsers."""
    status = verbs.add_parser("status", help="are we live, at what size, and what is missing")
    status.add_argument("--account", help="one account; all otherwise")
    conditions = verbs.add_parser("conditions", help="what the present phase asks for")
    conditions.add_argument("--account", required=True)
    begin = _add_moving(verbs, "open", "begin the way of an account to a profile")
    begin.add_argument("--profile", help="default: the one of config/go_live.yaml")
    advance = _add_moving(verbs, "advance", "one phase further, if the evidence carries it")
    withdraw = _add_moving(verbs, "withdraw", "give the way up before activation")
    request = _add_moving(verbs, "request", "ask to go live; another person approves")
    request.add_argument("--profile", help="where no programme is open: of which to open one")
    request.add_argument("--otp", help="the second factor, asked for where one person approves alone")
    confirm = _add_moving(verbs, "confirm", "take over what was observed")
    approve = _add_deciding(verbs, "approve", "approve a request exactly as it is shown")
    reject = _add_deciding(verbs, "reject", "reject a request, which closes it")
    activate = _add_deciding(verbs, "activate", "carry an approved request out, once")
    activate.add_argument(
        "--typed", nargs="*", default=[], metavar="LIMIT=VALUE", help="one person alone: the new limits"
    )
    return status, conditions, begin, advance, withdraw, request, confirm, approve, reject, activate


def _add_moving(verbs: Any, name: str, text: str) -> CommandParser:
    parser: CommandParser = verbs.add_parser(name, help=text)
    parser.add_argument("--account", required=True)
    _add_person(parser)
    return parser


def _add_deciding(verbs: Any, name: str, text: str) -> CommandParser:
    parser: CommandParser = verbs.add_parser(name, help=text)
    parser.add_argument("request_id", type=UUID)
    parser.add_argument("--otp", required=True, help="the second factor of this moment")
    _add_person(parser)
    return parser


def _add_person(parser: CommandParser) -> None:
    parser.add_argument("--actor", required=True, help="the person")
    parser.add_argument("--reason", required=True)


def run_status(options: dict[str, Any], out: OutputWrapper) -> None:
    name = options["account"]
    accounts = [get_account(name)] if name else list(list_accounts())
    rows = [describe_account(account) for account in accounts]
    if options["json"]:
        out.write(json.dumps({"accounts": rows}))
        return
    for row in rows:
        held = ", held" if row["is_held"] else ""
        out.write(f"{row['account']}: {row['permit'] or 'no permit'} {row['profile'] or ''}{held}")
        _show_programme(row["programme"], out)
        if row["request"] is not None:
            out.write(f"  request {row['request']['request_id']} is {row['request']['state']}")


def run_conditions(options: dict[str, Any], out: OutputWrapper) -> None:
    _answer_programme(get_open_programme(get_account(options["account"])), options, out)


def run_open(options: dict[str, Any], out: OutputWrapper) -> None:
    _answer_programme(_open(get_account(options["account"]), options), options, out)


def run_advance(options: dict[str, Any], out: OutputWrapper) -> None:
    programme = get_open_programme(get_account(options["account"]))
    actor = get_actor(options["actor"])
    _answer_programme(services.advance_programme(programme=programme, actor=actor), options, out)


def run_withdraw(options: dict[str, Any], out: OutputWrapper) -> None:
    row = services.withdraw_programme(
        programme=get_open_programme(get_account(options["account"])),
        actor=get_actor(options["actor"]),
        reason=options["reason"],
    )
    _answer({"programme": row.pk, "state": row.state}, f"programme {row.pk} is {row.state}", options, out)


def run_request(options: dict[str, Any], out: OutputWrapper) -> None:
    account = get_account(options["account"])
    programme = find_open_programme(account) or _open(account, options)
    if options["profile"] not in {None, programme.profile}:
        raise InvalidInput(f"profile: the open programme leads to {programme.profile}")
    row = services.request_activation(
        programme=programme,
        reason=options["reason"],
        actor=get_actor(options["actor"]),
        otp=options["otp"],
    )
    text = f"request {row.pk}: {account.name} to {programme.profile} ({row.subject['direction']})"
    following = f"next: manage.py golive approve {row.pk} --otp CODE --actor NAME --reason WHY"
    _answer(describe_request(row), f"{text}\n{following}", options, out)


def run_approve(options: dict[str, Any], out: OutputWrapper) -> None:
    _vote(VoteDecision.APPROVE, options, out)


def run_reject(options: dict[str, Any], out: OutputWrapper) -> None:
    _vote(VoteDecision.REJECT, options, out)


def _vote(decision: VoteDecision, options: dict[str, Any], out: OutputWrapper) -> None:
    row = vote_on_request(
        request_id=options["request_id"],
        decision=decision,
        otp=options["otp"],
        reason=options["reason"],
        actor=get_actor(options["actor"]),
        kind=ACTIVATION,
    )
    _answer(describe_request(row), f"request {row.pk} is {row.state}", options, out)


def run_activate(options: dict[str, Any], out: OutputWrapper) -> None:
    row = services.activate(
        request_id=options["request_id"],
        otp=options["otp"],
        actor=get_actor(options["actor"]),
        reason=options["reason"],
        typed=_read_typed(options["typed"]),
    )
    text = f"{row.account.name} is live at {row.profile} ({row.approval_words}); it is being observed"
    _answer(describe_activation(row), text, options, out)


def run_confirm(options: dict[str, Any], out: OutputWrapper) -> None:
    row = services.confirm_activation(
        account=get_account(options["account"]),
        actor=get_actor(options["actor"]),
        reason=options["reason"],
    )
    _answer(describe_activation(row), f"{row.account.name} at {row.profile} is confirmed", options, out)


def _read_typed(pairs: list[str]) -> Mapping[str, str] | None:
    """LIMIT=VALUE as typed; None where nothing was."""
    typed = dict(pair.partition("=")[::2] for pair in pairs)
    if unknown := sorted(typed.keys() - set(TYPED_LIMITS)):
        raise InvalidInput(f"typed: expected {', '.join(TYPED_LIMITS)}, found {', '.join(unknown)}")
    return typed or None


def _open(account: Account, options: dict[str, Any]) -> Programme:
    return services.open_programme(
        account=account,
        profile=options["profile"] or require_config().default_profile,
        actor=get_actor(options["actor"]),
        reason=options["reason"],
    )


def _answer_programme(programme: Programme, options: dict[str, Any], out: OutputWrapper) -> None:
    row = describe_programme(programme)
    if options["json"]:
        out.write(json.dumps(row))
    else:
        _show_programme(row, out)


def _answer(facts: dict[str, Any], text: str, options: dict[str, Any], out: OutputWrapper) -> None:
    out.write(json.dumps(facts) if options["json"] else text)


def _show_programme(row: dict[str, Any] | None, out: OutputWrapper) -> None:
    if row is None:
        return
    out.write(f"  programme {row['id']} to {row['profile']}: {row['phase']} since {row['since_at']}")
    for item in row["conditions"]:
        mark = "met    " if item["is_met"] else "MISSING"
        step = f" -> {item['next']}" if item["next"] else ""
        out.write(f"    {mark} {item['name']:<16}{item['text']}{step}")
