"""How the world looks: every thing in it drawn on pixels."""
