"""What models are there, where their files are, and what the files say of themselves. Nothing is loaded here."""
