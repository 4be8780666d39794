from django.db import migrations

from controlplane.audit.migration_operations import AppendOnly


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_chain"),
        ("trading", "0001_facts"),
    ]

    operations = [
        AppendOnly("trading_orderevent"),
        AppendOnly("trading_fill"),
        AppendOnly("trading_income"),
        AppendOnly("trading_equitysample"),
    ]
