"""The zoo: many networks explained at their default layer, and held against a plain hook."""
