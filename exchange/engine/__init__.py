"""The matching engine: a pure function of commands, without Django, clock, input or output.

`book` is the book that trades, `reference` the plain one that says what it must do, `orders` what both
speak of, and `ladder` one side of the fast book.
"""
