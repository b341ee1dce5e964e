"""What people look at: plain data in; text, bytes or figures out. Nothing here reaches into a session."""
