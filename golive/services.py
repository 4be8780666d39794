"""What interfaces and the wiring call: permits and their leases, pre-flight."""

from golive.permits import end_permit, issue_paper_permit, renew_leases
from golive.runs import run_preflight, start_preflight

__all__ = ["end_permit", "issue_paper_permit", "renew_leases", "run_preflight", "start_preflight"]
