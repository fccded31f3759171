"""What glimp doctor examines: facts about this machine, and what they mean."""
