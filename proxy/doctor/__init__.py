"""What a client of simplestreams would meet at a mirror, ours or any other.

`clients` says what each client does, `wire` asks as it does and tells bare facts, `checks`
and `models` judge those facts, `wording` says it to a person. What a mirror sends is
data from a stranger here: every reading has a bound, and nothing of it is believed.
"""
