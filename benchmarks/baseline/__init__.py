"""The usual way to build an exchange with Django: what the venue's speed is compared with.

A competent developer's first working version, and nothing else: a stock project (`settings.py` is what `startproject`
writes, plus the REST framework and simplejwt), an `APIView` with a serializer, the ORM, one transaction per order,
row locks so that it is correct (the market, the resting orders on the other side in price-time order, the balances by
id), balances updated row by row, served by daphne as the documentation of Channels says.

It does less than the venue (no fees, no journal, no double entry, no events, no streams, no idempotency, only limit
orders), which favours it. It shares no code with the venue.
"""
