"""Migration operations that make a table append-only."""

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from controlplane.audit.grants import APPEND, get_app_role, grant_table

ROW_TRIGGER = "append_only_rows"
TRUNCATE_TRIGGER = "append_only_truncate"

REFUSE_FUNCTION = """
CREATE OR REPLACE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$
"""


class AppendOnly(Operation):
    """Refuse UPDATE, DELETE and TRUNCATE on a table, for every role, replication included.

    `AppendOnly("trading_fill")` goes after the CreateModel of the table it names. The database
    role of the running application keeps SELECT and INSERT there, and nothing else.
    """

    reversible = True
    reduces_to_sql = False

    def __init__(self, table: str) -> None:
        self.table = table

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The models do not change."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        quoted = schema_editor.quote_name(self.table)
        schema_editor.execute(REFUSE_FUNCTION, params=None)
        for trigger, events in (
            (ROW_TRIGGER, "BEFORE UPDATE OR DELETE ON {} FOR EACH ROW"),
            (TRUNCATE_TRIGGER, "BEFORE TRUNCATE ON {} FOR EACH STATEMENT"),
        ):
            schema_editor.execute(
                f"CREATE TRIGGER {trigger} {events.format(quoted)} EXECUTE FUNCTION audit_refuse_change()",
                params=None,
            )
            schema_editor.execute(f"ALTER TABLE {quoted} ENABLE ALWAYS TRIGGER {trigger}", params=None)
        role = get_app_role(schema_editor.connection)
        if role is not None:
            grant_table(schema_editor.connection, table=self.table, role=role, rights=APPEND)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        quoted = schema_editor.quote_name(self.table)
        for trigger in (ROW_TRIGGER, TRUNCATE_TRIGGER):
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {trigger} ON {quoted}", params=None)

    def describe(self) -> str:
        return f"Make {self.table} append-only"

    @property
    def migration_name_fragment(self) -> str:
        return f"append_only_{self.table}"

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return self.__class__.__name__, [self.table], {}
