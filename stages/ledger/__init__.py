"""The ledger: owns every teacher output and every cent, outside the workspace, so that nothing is ever paid twice.

`schema` the tables and their migrations; `database` where the ledger lives and how it is opened; `calls` the life of a call;
`owned` what is owned and its values; `exports` to files and back; `accounts` teachers, status and the resolving of unknown calls.
It knows samples only by content id and signals only by name: nothing of images, models or DVC.
"""
