"""The WebSockets: what the venue tells as it happens, and what may be asked and commanded there.

The files of this folder, by what they are for.

the sockets: routing sockets consumers prices market user
what they tell: committed feeds ticker_feeds price_feed account_feeds margin_feed queries
how it leaves: outbox direct
their beginning and end: lifecycle last_wishes
"""
