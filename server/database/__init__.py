"""The database of servers: its tables, their versions, and transactions."""
