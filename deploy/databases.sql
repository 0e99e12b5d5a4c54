-- Beside `ledger`, which PostgreSQL's image makes itself.
CREATE DATABASE mlflow;
CREATE DATABASE prefect;
