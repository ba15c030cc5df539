"""What `dlr verify` looks at: the bytes of records, what episodes hold, and what replays show."""
