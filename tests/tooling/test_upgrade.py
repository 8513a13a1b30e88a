"""Databases of other versions: what older ones left is brought up to date, what newer ones have changed is let be."""

import sys
from contextlib import nullcontext

import pytest
from django.core.management import CommandError, call_command
from django.core.management.commands import migrate
from django.db import connection
from django.db.migrations import CreateModel, Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState
from django.db.models import AutoField, IntegerField


@pytest.mark.django_db
def test_a_venue_from_between_two_numbers_can_go_on():
    """Two lines of work met: on one of them 0005_lifecycle was there before 0004_ids_in_blocks was."""
    recorder = MigrationRecorder(connection)
    recorder.migration_qs.filter(app="exchange", name__gte="0006").delete()
    recorder.record_unapplied("exchange", "0004_ids_in_blocks")
    MigrationLoader(connection).check_consistent_history(connection)


@pytest.mark.django_db
def test_what_a_newer_version_has_changed_is_left_alone(subtests):
    """The server opened, and traded on tables whose rules it does not know."""
    recorder = MigrationRecorder(connection)
    for app, name, is_refused in [("axes", "0099_squashed", False), ("exchange", "0099_of_tomorrow", True)]:
        recorder.record_applied(app, name)
        with subtests.test(app), pytest.raises(CommandError) if is_refused else nullcontext() as caught:
            call_command("migrate", verbosity=0, check_unapplied=True)
        assert not is_refused or f"({app}.{name})" in str(caught.value)


@pytest.mark.django_db(transaction=True)
def test_a_migration_that_is_killed_before_it_is_noted_was_never_done(monkeypatch):
    """Else the next start made its tables again, which ended it, and so on for ever."""
    executor = migrate.MigrationExecutor(connection)
    migration = Migration("0099_of_tomorrow", "exchange")
    fields = [("id", AutoField(primary_key=True)), ("mark", IntegerField(db_index=True))]
    migration.operations = [CreateModel("Half", fields)]
    monkeypatch.setattr(executor, "record_migration", lambda _: sys.exit("killed"))
    with pytest.raises(SystemExit):
        executor.apply_migration(ProjectState(), migration)
    assert "exchange_half" not in connection.introspection.table_names()
