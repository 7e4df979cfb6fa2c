"""Pure rules: values in, values out. Standard library only; the caller owns the clock and the dice."""
