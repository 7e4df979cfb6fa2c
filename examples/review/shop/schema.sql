CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer TEXT,
    total FLOAT, -- money
    paid_at TEXT
);
