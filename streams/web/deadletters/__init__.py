"""Dead letters over HTTP: listed, looked into, sent again."""
