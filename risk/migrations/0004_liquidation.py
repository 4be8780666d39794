from django.db import migrations, models

SOURCES = [
    ("manual", "manual"),
    ("drill", "drill"),
    ("capital_loss", "capital_loss"),
    ("daily_drawdown", "daily_drawdown"),
    ("losing_run", "losing_run"),
    ("stale_data", "stale_data"),
    ("execution_errors", "execution_errors"),
    ("reconciliation", "reconciliation"),
    ("global_risk", "global_risk"),
    ("heartbeat", "heartbeat"),
    ("liquidation", "liquidation"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("risk", "0003_emergency_stop"),
    ]

    operations = [
        migrations.AlterField(
            model_name="stopevent",
            name="source",
            field=models.CharField(choices=SOURCES, max_length=24),
        ),
        migrations.AlterField(
            model_name="watch",
            name="trigger",
            field=models.CharField(choices=SOURCES, max_length=24),
        ),
    ]
