import os

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection


@pytest.mark.django_db
def test_the_tests_run_as_the_application_role():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_database()")
        user, database = cursor.fetchone()
    assert user == "app"
    assert database.startswith("test_")
    assert os.environ["DATABASE_URL"].split("?")[0].endswith(f"/{database}")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", [1, 2])
def test_a_transactional_test_leaves_nothing_behind(attempt):
    assert not Group.objects.exists()
    assert Permission.objects.exists()
    Group.objects.create(name="left behind")
    Permission.objects.all().delete()
