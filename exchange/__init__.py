"""Who trades with whom: orders, the books in which they meet, and what becomes of both.

The files of this room, by what they are for; models and admin pages stand in files that are called so.

the doors: orders commands lists positions kill_switch api streams management
checked without a lock: validation special_terms resent preview
the writer: sequencer writers relay transaction batch reach store ids records special_orders
a command under the lock: admission limits bands conditions planning
what follows from it, or from time: following mark_price upkeep expiry clockwork
a market's book: engine books live waiting open_orders reducing
a book from the database: registry loading journal redoing checkpoints
a market's day, and what it may become: phases sessions auctions interruption halts market_rules
who pays: paying spot deferred margin weighing payable fee_tiers
reading what is committed: barrier reading depth rendering tickers trending by_time margin_reading dashboard
margin's services: positions_engine mark_keeper mark_triggers house_quotes financing rollovers
accounts in trouble: risk risk_index risk_reading risk_stop liquidation liquidation_plan
competitions' end: closing
proofs, and what may go: audit candle_proof retention
something to look at: demo margin_demo simulator
"""
