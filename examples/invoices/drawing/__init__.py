"""How the example invoices are drawn: what they say, how they look, and what paper and scanner do to them."""
