"""Writes: designations, tokens, second factors; and the checks of who may do what."""

import base64
import secrets
from collections.abc import Collection, Iterable
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission, User
from django.contrib.auth.validators import ASCIIUsernameValidator
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from controlplane.approvals import core, selectors
from controlplane.approvals.core import Actor, Role, TokenScope
from controlplane.approvals.models import ApiToken, Designation, IdempotentAnswer, SecondFactor
from controlplane.audit import services as audit
from controlplane.errors import Conflict, InvalidInput, NotFound, NotPermitted

VIEWERS = "viewers"
LONGEST_NAME = 150
LAST_USE_RESOLUTION = timedelta(minutes=1)
CLAIM_LIVES_FOR = timedelta(minutes=1)
ANSWERS_LIVE_FOR = timedelta(days=1)


class NotDesignated(NotPermitted):
    """The actor holds no designation that allows this."""

    code = "not_designated"


class TokenInvalid(NotPermitted):
    """No living token has this value, or its user is deactivated."""

    code = "token_invalid"


class ScopeMissing(NotPermitted):
    """The token is not for this."""

    code = "scope_missing"


class KeyReused(Conflict):
    """The same Idempotency-Key came with another request."""

    code = "idempotency_key_reused"


class AnswerInProgress(Conflict):
    """The first request with this key has no answer yet."""

    code = "idempotency_in_progress"


def require_role(actor: Actor, role: Role) -> None:
    """Raise NotDesignated unless the role is designated to the actor now."""
    require_any_role(actor, frozenset({role}))


def require_any_role(actor: Actor, roles: frozenset[Role]) -> None:
    """Raise NotDesignated unless one of the roles is designated to the actor now."""
    if not core.has_any_role(actor, roles):
        wanted = " or ".join(sorted(role.value for role in roles))
        raise NotDesignated(f"{actor.name} is not designated as {wanted}")


def require_scope(actor: Actor, scope: TokenScope) -> None:
    """Raise ScopeMissing if the actor is a token without the scope."""
    if actor.kind is core.ActorKind.TOKEN and scope not in actor.scopes:
        raise ScopeMissing(f"token {actor.name} has no scope {scope.value!r}")


def check_token(raw: str, scope: TokenScope | None = None) -> Actor:
    """The token's actor, with the designations of its user; raises TokenInvalid or ScopeMissing."""
    found = selectors.find_token(core.hash_token(raw), use_is_old_after=LAST_USE_RESOLUTION)
    if found is None:
        raise TokenInvalid("the token is unknown or revoked")
    if found.is_use_old:
        ApiToken.objects.filter(pk=found.id).update(last_used_at=Now())
    if scope is not None:
        require_scope(found.actor, scope)
    return found.actor


@transaction.atomic
def create_token(
    *, name: str, user: User, scopes: Iterable[TokenScope], actor: Actor, reason: str, raw: str | None = None
) -> tuple[ApiToken, str]:
    """Make a token and return it with its value, which is shown once; raises Conflict for a used name.

    It asks nobody, as `revoke_token`: people come by controlplane.approvals.tokens.
    """
    raw = raw or secrets.token_urlsafe(32)
    try:
        with transaction.atomic():
            token = ApiToken.objects.create(
                name=name,
                user=user,
                scopes=sorted(scope.value for scope in scopes),
                token_sha256=core.hash_token(raw),
            )
    except IntegrityError:
        raise Conflict(f"name: a living token is named {name!r}", code="token_exists") from None
    audit.record(
        action="approvals.token_create",
        actor=actor.audit_name,
        subject_type="token",
        subject_id=name,
        reason=reason,
        detail={"user": user.get_username(), "scopes": token.scopes},
    )
    return token, raw


@transaction.atomic
def revoke_token(*, name: str, actor: Actor, reason: str) -> None:
    """End the living token of that name at once; raises NotFound."""
    revoked = ApiToken.objects.filter(name=name, revoked_at__isnull=True).update(revoked_at=Now())
    if not revoked:
        raise NotFound(f"name: no living token is named {name!r}", code="token_not_found")
    audit.record(
        action="approvals.token_revoke",
        actor=actor.audit_name,
        subject_type="token",
        subject_id=name,
        reason=reason,
    )


@transaction.atomic
def designate(*, user: User, role: Role, actor: Actor, reason: str) -> Designation:
    """Give the user the role; an open designation is returned as it is.

    For the first start and the effect of an approved request only: it asks nobody.
    """
    row, created = Designation.objects.get_or_create(
        user=user, role=role.value, valid_to=None, defaults={"designated_by": actor.audit_name}
    )
    if created:
        audit.record(
            action="approvals.designate",
            actor=actor.audit_name,
            subject_type="user",
            subject_id=user.get_username(),
            reason=reason,
            detail={"role": role.value},
        )
    return row


@transaction.atomic
def end_designation(*, row: Designation, actor: Actor, reason: str) -> None:
    """Take the role away now. It asks nobody, as `designate`."""
    Designation.objects.filter(pk=row.pk).update(valid_to=Now())
    audit.record(
        action="approvals.designation_end",
        actor=actor.audit_name,
        subject_type="user",
        subject_id=row.user.get_username(),
        reason=reason,
        detail={"role": row.role},
    )


@transaction.atomic
def enrol_second_factor(*, user: User, totp_secret: str, actor: Actor, reason: str) -> SecondFactor:
    """Store the user's TOTP secret, replacing an earlier one; raises InvalidInput if it is not base32."""
    try:
        core.totp_code(totp_secret, 0)
    except ValueError:
        raise InvalidInput("totp_secret: expected base32") from None
    row, _ = SecondFactor.objects.update_or_create(
        user=user, defaults={"totp_secret": totp_secret, "enrolled_at": Now()}
    )
    audit.record(
        action="approvals.second_factor_enrol",
        actor=actor.audit_name,
        subject_type="user",
        subject_id=user.get_username(),
        reason=reason,
    )
    return row


def generate_totp_secret() -> str:
    """160 random bits as base32 (RFC 4226, section 4)."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


@transaction.atomic
def create_user(*, name: str, password: str, actor: Actor, reason: str) -> User:
    """Make a user who may sign in and view every fact; raises InvalidInput and Conflict for the name."""
    require_name(name)
    if get_user_model().objects.filter(username__iexact=name).exists():
        raise Conflict(f"name: a user is named {name!r}", code="user_exists")
    user = get_user_model().objects.create_user(username=name, password=password, is_staff=True)
    user.groups.add(ensure_viewers())
    audit.record(
        action="approvals.user_create",
        actor=actor.audit_name,
        subject_type="user",
        subject_id=name,
        reason=reason,
    )
    return user


def require_name(name: str) -> None:
    """Raise InvalidInput unless it is plain letters, digits and @.+-_ only.

    A colon would make the person a guard or a token in the audit log; other alphabets have letters that
    look like these.
    """
    try:
        ASCIIUsernameValidator()(name)
    except ValidationError:
        name = ""
    if not 0 < len(name) <= LONGEST_NAME:
        text = f"name: up to {LONGEST_NAME} plain letters, digits and @ . + - _"
        raise InvalidInput(text, code="name_invalid")


@transaction.atomic
def set_password(*, user: User, password: str, actor: Actor, reason: str) -> None:
    user.set_password(password)
    user.save(update_fields=["password"])
    audit.record(
        action="approvals.password_set",
        actor=actor.audit_name,
        subject_type="user",
        subject_id=user.get_username(),
        reason=reason,
    )


def ensure_viewers(hidden: Collection[str] = ("session", "idempotentanswer", "logentry")) -> Group:
    """The group that may view every kind of fact and change none."""
    group, _ = Group.objects.get_or_create(name=VIEWERS)
    permissions = Permission.objects.filter(codename__startswith="view_").exclude(
        content_type__model__in=hidden
    )
    group.permissions.set(permissions)
    return group


def is_living_token(raw: str) -> bool:
    """Whether a token of this value may be used, without noting a use."""
    return selectors.find_token(core.hash_token(raw), use_is_old_after=LAST_USE_RESOLUTION) is not None


def claim_answer(*, owner: str, key: str, request_digest: str) -> IdempotentAnswer:
    """Claim the key for this request; a row with a status is the answer given the first time.

    Raises KeyReused for another request with the same key, and AnswerInProgress while the first
    one is being carried out (a claim whose process died is taken over after a minute).
    """
    IdempotentAnswer.objects.filter(claimed_at__lt=Now() - ANSWERS_LIVE_FOR).delete()
    row, claimed = IdempotentAnswer.objects.get_or_create(
        owner=owner, key=key, defaults={"request_digest": request_digest}
    )
    if row.request_digest != request_digest:
        raise KeyReused(f"Idempotency-Key: {key!r} was used for another request")
    if claimed or row.status is not None:
        return row
    taken = IdempotentAnswer.objects.filter(
        pk=row.pk, status__isnull=True, claimed_at__lt=Now() - CLAIM_LIVES_FOR
    ).update(claimed_at=Now())
    if not taken:
        raise AnswerInProgress(f"Idempotency-Key: {key!r} is being carried out")
    return row


def store_answer(*, claim_id: int, status: int, content_type: str, body: str) -> None:
    IdempotentAnswer.objects.filter(pk=claim_id, status__isnull=True).update(
        status=status, content_type=content_type, body=body
    )


def release_answer(*, claim_id: int) -> None:
    """Give a claim up: nothing was done."""
    IdempotentAnswer.objects.filter(pk=claim_id, status__isnull=True).delete()
