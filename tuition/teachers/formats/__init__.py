"""Wire formats of servers: how a request is written and an answer read, one file each. Knows no network: nothing is sent here."""
