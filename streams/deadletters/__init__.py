"""What is in the topic `deadletter`: read the newest first, looked into, and sent again."""
