"""Names are folded by Python and kept so, see accounts.names."""

from collections import defaultdict

from django.db import migrations, models

import accounts.names


def keys(names):
    """By id, for (id, name): the folded name; of several names that fold alike, one has it.

    That is the one that answered to the folded name until now (which the database folded in ASCII), or else the
    oldest. The others keep their names as they are. Those differ from each other, and from every folded name,
    because folding changes them.
    """
    alike = defaultdict(list)
    for id, name in names:
        alike[accounts.names.fold(name)].append((id, name))
    found = {}
    for key, group in alike.items():
        group.sort(key=lambda row: (row[1] != key, _ascii_lower(row[1]) != key, row[0]))
        found |= dict(group)
        found[group[0][0]] = key
    return found


def _ascii_lower(name):
    return name.encode().lower().decode()


def fill(apps, editor):
    found = keys(apps.get_model("accounts", "User").objects.order_by("id").values_list("id", "username"))
    with editor.connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_user u SET name_key = k.name_key"
            " FROM unnest(%s::bigint[], %s::text[]) AS k (id, name_key) WHERE u.id = k.id",
            [list(found), list(found.values())],
        )


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0009_financing'),
    ]

    operations = [
        migrations.AlterModelManagers(
            name='user',
            managers=[
                ('objects', accounts.names.Users()),
            ],
        ),
        migrations.AddField(
            model_name='user',
            name='name_key',
            field=accounts.names.NameKey(null=True),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
        migrations.AlterField(
            model_name='user',
            name='name_key',
            field=accounts.names.NameKey(),
        ),
        migrations.AddConstraint(
            model_name='user',
            constraint=models.UniqueConstraint(fields=('name_key',), name='user_name_key_once'),
        ),
        migrations.RemoveConstraint(
            model_name='user',
            name='user_username_unique_in_any_case',
        ),
    ]
