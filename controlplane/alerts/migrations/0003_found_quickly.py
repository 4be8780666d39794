"""Indexes for the list page: it is as quick over a million alerts as over a thousand."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alerts", "0002_channels_and_escalation")]

    operations = [
        migrations.AddIndex(
            "alert", models.Index(fields=["severity", "-id"], name="alerts_alert_severity")
        ),
        migrations.AddIndex("alert", models.Index(fields=["code", "-id"], name="alerts_alert_code")),
        migrations.AddIndex("alert", models.Index(fields=["scope", "-id"], name="alerts_alert_scope")),
        migrations.AddIndex(
            "alert", models.Index(fields=["correlation_id"], name="alerts_alert_correlation")
        ),
        migrations.AddIndex(
            "alert",
            models.Index(fields=["-id"], condition=models.Q(resolved_at=None), name="alerts_alert_open"),
        ),
        migrations.RunSQL(
            "CREATE INDEX alerts_alert_words ON alerts_alert USING gin (to_tsvector('simple', text))",
            "DROP INDEX alerts_alert_words",
        ),
    ]
