"""The matching engine: a pure function of commands, without Django, clock, input or output.

`book` is the book that trades, `ladder` one side of it, `auction` the price for all that it has collected, `triggers`
the orders that wait for a price; `orders` is what all of them speak of, `digest` tells whether two books are the same.
`reference`, `reference_auction` and `reference_triggers` are the plain ones that say what the others must do.
"""
