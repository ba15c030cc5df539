"""What a scene affords a hand: sizes, surfaces, grasps, places and moving parts, from the model."""
