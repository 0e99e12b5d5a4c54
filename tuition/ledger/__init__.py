"""The ledger: owns every teacher output and every cent, outside the workspace, so that nothing is ever paid twice.

Each call is reserved at its maximum cost and settled at its real cost, so a cap is never exceeded.

`keys` what is asked of a teacher, and how it is spelt; `schema` the tables, `migrations` from older ones; `database` where the ledger
lives and how it is opened, `sqlite` as a file, `postgres` on a server; `calls` the life of a call, `processes` whose it is; `spending`
bounds and counters; `blocks` how outputs are stored; `owned` how requests stand, and outputs; `exports` to files, `imports` from them,
`merge` from another ledger; `accounts` teachers, status, unknown calls, and whether the books are right. It knows samples only by
content id, views only as text and signals only by name: nothing of images, models or DVC.
"""
