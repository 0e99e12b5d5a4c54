"""The wire formats of teachers that are asked over HTTP: how a request is written and an answer read, one file each."""
