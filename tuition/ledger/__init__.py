"""The ledger: owns every teacher output and every cent, outside the workspace, so that nothing is ever paid twice.

`schema` the tables, `migrations` from older ones; `database` where the ledger lives and how it is opened, `postgres` on a server;
`calls` the life of a call; `spending` bounds and counters; `blocks` how outputs are stored; `owned` what is owned and its values;
`exports` to files, `imports` from them, `merge` from another ledger; `accounts` teachers, status, unknown calls, and whether the books
are right. It knows samples only by content id and signals only by name: nothing of images, models or DVC.
"""
