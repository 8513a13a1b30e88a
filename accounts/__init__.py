"""Who owns what: people, their accounts, and the ledger that is the only reason why a balance changes.

The files of this room, by what they are for; models and admin pages stand in files that are called so.

the doors: api management operator_login browser_sessions
who is asking: users names callers authentication verified tokens revocation api_keys sealing second_factor lockout
money: ledger opening transfers withdrawals spending idempotency
what is owned: holdings holdings_proof portfolio valuation unsettled equity metrics statement events
margin: margin netting positions position_archive conversion covering house market_rules
competitions: competitions entry_terms
"""
