"""What is traded, and at what price; and on the ground floor what all rooms share.

The files of this room, by what they are for; models and admin pages stand in files that are called so.

the doors: api management
markets: markets contracts rules units
when they trade: calendar hours
prices from outside: feed followers providers gate quotes external importing datasets
prices for margin: marks
what was traded: candles candle_intervals tickers
shared, between processes: hub leadership snapshots threads
shared, in a process: bulk clock exact_json files metrics operators packages refusals throttling tracing
"""
