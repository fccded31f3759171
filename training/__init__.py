"""How the built-in pair is made: stories, vocabulary, training, export, evaluation. No part of the package."""
