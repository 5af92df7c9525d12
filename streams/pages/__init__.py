"""What people see: pages of NiceGUI beside the API, drawn from the same replica."""
