"""A conversation with a pair: glimpse, route, write the step, again."""
