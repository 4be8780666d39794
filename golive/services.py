"""What interfaces and the wiring call: permits and their leases, pre-flight."""

from golive.permits import can_stop, end_permit, issue_paper_permit, renew_leases
from golive.runs import run_preflight, start_preflight

__all__ = ["can_stop", "end_permit", "issue_paper_permit", "renew_leases", "run_preflight", "start_preflight"]
