"""Every setting comes from the environment; doubt stops the process (see .env.example)."""

from pathlib import Path

import structlog

from controlplane.env import (
    SettingError,
    broker_from_url,
    database_from_url,
    env_bool,
    env_choice,
    env_int,
    env_list,
    env_rate,
    env_str,
    is_hex,
    pairs_from_list,
)

BASE_DIR = Path(__file__).resolve().parent.parent
STATE_DIR = Path(env_str("CONTROLPLANE_HOME", str(BASE_DIR / "var")))
CONFIG_DIR = BASE_DIR / "config"

TRADING_ENVIRONMENT = env_choice("TRADING_ENVIRONMENT", ("paper", "demo", "live"), "paper")
DEBUG = env_bool("DEBUG", False)
if DEBUG and TRADING_ENVIRONMENT == "live":
    raise SettingError("DEBUG must be off where TRADING_ENVIRONMENT is live")

SECRET_KEY = env_str("SECRET_KEY")
SHORTEST_SECRET_KEY = 50
if TRADING_ENVIRONMENT != "paper" and len(SECRET_KEY) < SHORTEST_SECRET_KEY:
    raise SettingError(f"SECRET_KEY: at least {SHORTEST_SECRET_KEY} characters, found {len(SECRET_KEY)}")
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
if "*" in ALLOWED_HOSTS and TRADING_ENVIRONMENT != "paper":
    raise SettingError("ALLOWED_HOSTS: name the hosts, * is for paper only")
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS")

DATABASES = {"default": database_from_url("DATABASE_URL", env_str("DATABASE_URL"))}
if owner_url := env_str("DATABASE_OWNER_URL", ""):
    DATABASES["owner"] = database_from_url("DATABASE_OWNER_URL", owner_url)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env_str("REDIS_URL")

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
    "ninja",
    "controlplane.audit",
    "controlplane.alerts",
    "controlplane.approvals",
    "trading",
    "risk",
    "golive",
    "controlplane",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "controlplane.problems.answer_with_problems",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "controlplane.urls"
WSGI_APPLICATION = "controlplane.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = ["controlplane.formats"]

STATIC_URL = "static/"
# Served from the packages themselves, so that no collection step can be forgotten.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# The embedded desk is reached over plain HTTP on the loopback address only.
HTTPS_ONLY = env_bool("HTTPS_ONLY", TRADING_ENVIRONMENT != "paper")
SESSION_COOKIE_SECURE = HTTPS_ONLY
CSRF_COOKIE_SECURE = HTTPS_ONLY
SECURE_SSL_REDIRECT = HTTPS_ONLY
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS_ONLY
SECURE_HSTS_PRELOAD = HTTPS_ONLY
SECURE_REDIRECT_EXEMPT = [r"^health/", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env_bool("BEHIND_PROXY", False) else None
SESSION_COOKIE_AGE = 12 * 3600
X_FRAME_OPTIONS = "DENY"

CELERY_BROKER_URL = broker_from_url("REDIS_URL", REDIS_URL)
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_TIME_LIMIT = 120
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 180,
    "unacked_restore_throttle": 1,
    "unacked_restore_interval": 5,
    # A publish must never hold up a commit: Redis carries no truth.
    "socket_timeout": 5,
    "socket_connect_timeout": 0.2,
    "max_retries": 1,
    "interval_start": 0,
    "connect_retries_timeout": 0.2,
}
CELERY_TASK_PUBLISH_RETRY = False
# Static, in code: a schedule edited on a page would be a change without an audit event.
CELERY_BEAT_SCHEDULE = {
    "run-cycles": {"task": "controlplane.run_cycles", "schedule": 1.0, "options": {"expires": 3.0}},
    "run-preflight": {"task": "golive.run_preflight", "schedule": 900.0, "options": {"expires": 600.0}},
}

# In the memory of each process: a limit must hold, and must not hold anybody up, with Redis down.
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "rate_limits": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "rate_limits",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    },
}
# How often one token may ask (in each web process); orders to judge are counted apart from all else.
API_RATE_LIMIT = env_rate("API_RATE_LIMIT", "6000/min")
API_ORDER_RATE_LIMIT = env_rate("API_ORDER_RATE_LIMIT", "3000/min")

# Checkpoints of the audit log: who signs (32 bytes as hex), as which log, and where they are kept outside.
AUDIT_SIGNING_KEY = env_str("AUDIT_SIGNING_KEY", "")
if AUDIT_SIGNING_KEY and not is_hex(AUDIT_SIGNING_KEY, digits=64):
    raise SettingError("AUDIT_SIGNING_KEY: expected 64 hex digits")
AUDIT_ORIGIN = env_str("AUDIT_ORIGIN", "desk")
AUDIT_CHECKPOINT_DIR = env_str("AUDIT_CHECKPOINT_DIR", "")
AUDIT_CHECKPOINT_COMMAND = env_str("AUDIT_CHECKPOINT_COMMAND", "")
# A closed segment of the log leaves the database after so many years at the earliest.
AUDIT_KEEP_YEARS = env_int("AUDIT_KEEP_YEARS", 5)

ALERT_URLS = env_list("ALERT_URLS")
ALERT_ESCALATION_URLS = env_list("ALERT_ESCALATION_URLS")
ALERT_HEARTBEAT_URL = env_str("ALERT_HEARTBEAT_URL", "")
WEB_URL = env_str("WEB_URL", f"http://127.0.0.1:{env_int('PORT', 8000)}")
# Where simulated venues listen, "binanceusdm=http://127.0.0.1:8101,…"; used in paper only.
SIMULATED_VENUES = pairs_from_list("SIMULATED_VENUES")
if SIMULATED_VENUES and TRADING_ENVIRONMENT != "paper":
    raise SettingError("SIMULATED_VENUES belongs to paper only")

UNFOLD = {
    "SITE_TITLE": "Control Plane",
    "SITE_HEADER": "Control Plane",
    "SITE_SYMBOL": "security",
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "controlplane.dashboard.environment_callback",
    "GLOBAL_CALLBACK": "controlplane.dashboard.global_callback",
    "DASHBOARD_CALLBACK": "controlplane.dashboard.dashboard_callback",
    "SIDEBAR": {"navigation": "controlplane.dashboard.navigation.list_sections"},
    "LOGIN": {"form": "controlplane.sign_in_guard.SignInForm"},
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": "/static/controlplane/icon.svg"},
    ],
    "STYLES": ["/static/controlplane/desk.css"],
    "SCRIPTS": ["/static/controlplane/desk.js"],
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        },
    },
}

LOG_LEVEL = env_choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
LOG_FORMAT = env_choice(
    "LOG_FORMAT", ("plain", "json"), "plain" if TRADING_ENVIRONMENT == "paper" else "json"
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
        "json": {
            "()": "structlog.stdlib.ProcessorFormatter",
            "processors": [
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        },
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    # One line a second for a tick that did nothing hides the lines that matter; failures are errors.
    "loggers": {
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "apprise": {"level": "WARNING"},
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
}
