"""Databases: rows of a query as items, results as rows of a table. By SQLAlchemy, imported when it is needed."""
