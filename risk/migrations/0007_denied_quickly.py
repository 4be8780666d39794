from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("risk", "0006_causes_of_golive")]

    operations = [
        migrations.AddIndex(
            "decision",
            models.Index(name="decision_denied", fields=["-id"], condition=models.Q(allowed=False)),
        ),
    ]
