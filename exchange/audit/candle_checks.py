"""Candles against the trades that they are made of."""

from exchange import candle_proof
from exchange.audit.check import Check

CANDLE_CHECKS = [
    Check(
        None,
        "candles_equal_the_tape",
        "every stored candle = its trades, folded again",
        "marketdata_candle",
        candle_proof.ALL_DIFFERENCES + " ORDER BY 1, 3, 2",
        "the trades of that candle; `manage.py rebuild_candles --market` writes the market's candles anew",
    ),
]
