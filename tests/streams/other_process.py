"""A process that places the orders it reads from its standard input, one a line, and answers each with its
order object.
"""

import json
import sys
from decimal import Decimal

import django

if __name__ == "__main__":
    django.setup()
    from exchange import orders, validation

    for line in sys.stdin:
        account_id, side, quantity, symbol, _, price = json.loads(line)
        command = validation.place_command(
            account_id=account_id, symbol=symbol, side=side, quantity=Decimal(quantity), price=Decimal(price)
        )
        print(json.dumps(orders.place(command).order), flush=True)
