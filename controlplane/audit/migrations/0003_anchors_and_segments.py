"""Checkpoints, verifications, and segments that may leave the database whole.

An event can be deleted only where the owner has detached its segment: the row that says so is written
by the owner's role alone. Nothing else about the chain's table changes.
"""

import django.db.models.deletion
from django.db import migrations, models

from controlplane.audit.migration_operations import AppendOnly

DETACH_FUNCTION = """
CREATE FUNCTION audit_refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.seq <= (
        SELECT coalesce(max(s.last_seq), 0) FROM audit_detachment d JOIN audit_segment s ON s.id = d.segment_id
    ) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END
$$
"""
TRIGGER = """
DROP TRIGGER append_only_rows ON audit_auditevent;
CREATE TRIGGER append_only_rows BEFORE UPDATE OR DELETE ON audit_auditevent
    FOR EACH ROW EXECUTE FUNCTION {}();
ALTER TABLE audit_auditevent ENABLE ALWAYS TRIGGER append_only_rows
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_chain")]

    operations = [
        migrations.AlterField(
            model_name='seal',
            name='event',
            field=models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='seal', to='audit.auditevent'),
        ),
        migrations.CreateModel(
            name='Checkpoint',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('seq', models.BigIntegerField(help_text='How many events there were.')),
                ('hash', models.CharField(max_length=64)),
                ('at', models.DateTimeField(help_text='Wall time of the database.')),
                ('reason', models.TextField()),
                ('body', models.TextField(help_text='The text exactly as signed.')),
                ('previous', models.CharField(max_length=64, unique=True)),
                ('digest', models.CharField(max_length=64, unique=True)),
                ('signature', models.CharField(max_length=128)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('seq__gte', 1)), name='audit_checkpoint_seq_from_one')],
            },
        ),
        migrations.CreateModel(
            name='CheckpointSink',
            fields=[
                ('name', models.CharField(max_length=20, primary_key=True, serialize=False)),
                ('delivered_at', models.DateTimeField(null=True)),
                ('failing_since', models.DateTimeField(null=True)),
                ('error', models.TextField(blank=True)),
                ('delivered', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='audit.checkpoint')),
            ],
        ),
        migrations.CreateModel(
            name='Segment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('first_seq', models.BigIntegerField(unique=True)),
                ('last_seq', models.BigIntegerField(unique=True)),
                ('last_hash', models.CharField(max_length=64)),
                ('closed_at', models.DateTimeField()),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('first_seq__lte', models.F('last_seq'))), name='audit_segment_ordered')],
            },
        ),
        migrations.CreateModel(
            name='Detachment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('export_sha256', models.CharField(max_length=64)),
                ('event_seq', models.BigIntegerField(help_text='The event that says who detached it, and why.')),
                ('at', models.DateTimeField()),
                ('segment', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='detachment', to='audit.segment')),
            ],
        ),
        migrations.CreateModel(
            name='Verification',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('is_whole', models.BooleanField()),
                ('events', models.BigIntegerField()),
                ('head_seq', models.BigIntegerField()),
                ('unanchored_since', models.BigIntegerField(null=True)),
                ('first_bad_seq', models.BigIntegerField(null=True)),
                ('why', models.TextField(blank=True)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('first_bad_seq', None), ('is_whole', True)), models.Q(('first_bad_seq__isnull', False), ('is_whole', False)), _connector='OR'), name='audit_verification_names_the_bad')],
            },
        ),
        AppendOnly("audit_checkpoint"),
        AppendOnly("audit_verification"),
        AppendOnly("audit_segment"),
        AppendOnly("audit_detachment"),
        migrations.RunSQL(
            DETACH_FUNCTION + ";" + TRIGGER.format("audit_refuse_event_change"),
            TRIGGER.format("audit_refuse_change") + ";DROP FUNCTION audit_refuse_event_change()",
        ),
        # Words of the body, for the search of people; of a long one its beginning.
        migrations.RunSQL(
            "CREATE INDEX audit_event_words ON audit_auditevent"
            " USING gin (to_tsvector('simple', left(body, 100000)))",
            "DROP INDEX audit_event_words",
        ),
    ]
