"""`manage.py desk`: the first start, people, roles, requests and votes."""

import json
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from controlplane.approvals import leaving, people, requests, selectors, voting
from controlplane.approvals.core import Mode, Role, VoteDecision
from controlplane.approvals.describing import describe_person, describe_request
from controlplane.approvals.people import Invited
from controlplane.errors import DomainError

REFUSED = 1
VOTES = {decision.value: decision for decision in VoteDecision}


class Command(BaseCommand):
    help = "The people of the desk: first start, invitations, second factors, requests and votes."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        self.add_first_start(verbs)
        person = {
            "invite": "make a user who may look",
            "enrol": "make a new second factor; shown once",
            "deactivate": "take sign-in, roles and tokens from a person at once",
        }
        for verb, text in person.items():
            by_person(verbs.add_parser(verb, help=text)).add_argument("name")
        designate = by_person(verbs.add_parser("designate", help="ask that a person be given a role"))
        end = by_person(verbs.add_parser("end-designation", help="take a role from a person at once"))
        for verb in (designate, end):
            verb.add_argument("name")
            verb.add_argument("role", choices=[role.value for role in Role])
        designate.add_argument("--otp", help="your code; needed on a desk of one person")
        solo = by_person(verbs.add_parser("solo", help="ask to become a desk of one person"))
        solo.add_argument("name")
        for verb in VOTES:
            vote = by_person(verbs.add_parser(verb, help=f"{verb} a request"))
            vote.add_argument("request_id", type=UUID)
            vote.add_argument("--otp", required=True, help="a code of your second factor")
            vote.add_argument("--digest", help="the digest you were shown; another one is refused")
        withdraw = by_person(verbs.add_parser("withdraw", help="take your own request back"))
        withdraw.add_argument("request_id", type=UUID)
        show = verbs.add_parser("show", help="one request in full")
        show.add_argument("request_id", type=UUID)
        listed = verbs.add_parser("list", help="the mode, the people and the open requests")
        for shown in (show, listed):
            shown.add_argument("--json", action="store_true", help="for machines")

    def add_first_start(self, verbs: Any) -> None:
        init = verbs.add_parser("init", help="the first start; possible once, before anybody is designated")
        init.add_argument("--mode", required=True, choices=[mode.value for mode in Mode])
        for role in Role:
            init.add_argument(f"--{role.value}", action="append", default=[], metavar="NAME")
        init.add_argument("--reason", required=True)
        init.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *args: Any, **options: Any) -> None:
        verb = options["verb"]
        try:
            do = self.vote if verb in VOTES else getattr(self, f"do_{verb.replace('-', '_')}")
            answer = do(options)
        except DomainError as refusal:
            raise CommandError(f"{refusal.code}: {refusal.message}", returncode=REFUSED) from refusal
        self.stdout.write(json.dumps(answer) if options["json"] else as_lines(answer))

    def do_init(self, options: dict[str, Any]) -> dict[str, Any]:
        named: dict[str, list[Role]] = {}
        for role in Role:
            for name in options[role.value]:
                named.setdefault(name, []).append(role)
        mode = Mode(options["mode"])
        invited = people.start_desk(mode=mode, people=named, reason=options["reason"])
        return {"mode": mode.value, "approval": mode.words, "people": [shown_once(one) for one in invited]}

    def do_invite(self, options: dict[str, Any]) -> dict[str, Any]:
        return shown_once(people.invite_person(name=options["name"], **by(options)))

    def do_enrol(self, options: dict[str, Any]) -> dict[str, Any]:
        return shown_once(people.enrol_person(name=options["name"], **by(options)))

    def do_deactivate(self, options: dict[str, Any]) -> dict[str, Any]:
        return describe_leaver(leaving.deactivate_person(name=options["name"], **by(options)))

    def do_end_designation(self, options: dict[str, Any]) -> dict[str, Any]:
        role = Role(options["role"])
        return describe_leaver(leaving.end_designation(name=options["name"], role=role, **by(options)))

    def do_designate(self, options: dict[str, Any]) -> dict[str, Any]:
        row = people.request_designation(
            name=options["name"], role=Role(options["role"]), otp=options["otp"], **by(options)
        )
        return describe_request(row)

    def do_solo(self, options: dict[str, Any]) -> dict[str, Any]:
        return describe_request(people.request_solo(name=options["name"], **by(options)))

    def do_withdraw(self, options: dict[str, Any]) -> dict[str, Any]:
        return describe_request(requests.withdraw_request(request_id=options["request_id"], **by(options)))

    def do_show(self, options: dict[str, Any]) -> dict[str, Any]:
        return describe_request(selectors.get_request(options["request_id"]))

    def do_list(self, options: dict[str, Any]) -> dict[str, Any]:
        mode = selectors.find_mode()
        return {
            "mode": None if mode is None else mode.value,
            "people": [describe_person(user) for user in selectors.list_users()],
            "requests": [describe_request(row) for row in selectors.list_open_requests()],
        }

    def vote(self, options: dict[str, Any]) -> dict[str, Any]:
        row = voting.vote_on_request(
            request_id=options["request_id"],
            decision=VOTES[options["verb"]],
            otp=options["otp"],
            digest=options["digest"],
            **by(options),
        )
        return describe_request(row)


def by_person(parser: Any) -> Any:
    """What every change needs: who does it and why."""
    parser.add_argument("--actor", required=True)
    parser.add_argument("--reason", required=True)
    parser.add_argument("--json", action="store_true", help="for machines")
    return parser


def by(options: dict[str, Any]) -> dict[str, Any]:
    return {"actor": selectors.get_actor(options["actor"]), "reason": options["reason"]}


def shown_once(invited: Invited) -> dict[str, Any]:
    """The secrets that were made; nothing shows them again."""
    made = {"password": invited.password, "totp_secret": invited.totp_secret}
    return {"name": invited.name} | {key: value for key, value in made.items() if value is not None}


def describe_leaver(user: User) -> dict[str, Any]:
    """What is left to the person, and how many are left to approve: nobody can be designated without one."""
    approvers = selectors.list_people(frozenset({Role.APPROVER})).count()
    return describe_person(user) | {"approvers_left": approvers}


def as_lines(answer: dict[str, Any]) -> str:
    """Key and value a line; a list has a line for each of its rows."""
    lines = []
    for key, value in answer.items():
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            lines += [f"{key}: none"] if not value else []
            lines += [f"{key}: " + "  ".join(f"{name}={part}" for name, part in row.items()) for row in value]
        else:
            lines.append(f"{key}: {value}")
    return "\n".join(lines)
