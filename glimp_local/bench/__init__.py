"""Does routing pay? The same problems under several policies, and the report on them."""
