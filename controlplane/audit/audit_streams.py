"""The log's own rows beside their events."""

from controlplane.audit.streams import EventRows

STREAMS = ()
EVENT_ROWS = (
    EventRows(action="audit.seal", subjects="SELECT stream FROM audit_seal"),
    EventRows(action="audit.segment_close", subjects="SELECT first_seq::text FROM audit_segment"),
)
